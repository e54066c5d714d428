// Arguments through which C returns a value.

/** A variable whose address is given: `cookiep` of ddi_umem_lock(). */
export class Pointer<T> {
  value: T | null = null;
}
