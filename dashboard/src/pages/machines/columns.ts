/** The columns of the table of machines, where there is room for one. */
export const COLUMNS =
  "grid-cols-[minmax(9rem,1.4fr)_6rem_4rem_minmax(6rem,1fr)_minmax(8rem,1fr)_minmax(8rem,1fr)_minmax(7rem,1fr)_minmax(6rem,1.2fr)_5rem]";
