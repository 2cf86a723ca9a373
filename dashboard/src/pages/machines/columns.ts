/** The columns of the table of machines, where there is room for one. */
export const COLUMNS =
  "grid-cols-[minmax(8rem,1.4fr)_5.5rem_3.5rem_minmax(5rem,1fr)_minmax(8rem,1fr)_minmax(8rem,1fr)_minmax(9.5rem,1fr)_minmax(4rem,1.2fr)_4.5rem]";
