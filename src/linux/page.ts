/** A page frame. */
export interface Page {
  /** Page frame number. */
  readonly pfn: number;
  /** Physical address of its first byte. */
  readonly phys: number;
}
