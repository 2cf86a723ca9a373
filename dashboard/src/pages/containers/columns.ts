/** The columns of the table of containers, where there is room for one. */
export const COLUMNS = "grid-cols-[minmax(10rem,2fr)_6.5rem_minmax(7rem,1fr)_minmax(9rem,1.4fr)_minmax(6rem,1fr)_5rem]";
