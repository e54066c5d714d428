// Arguments through which C returns a value.

import { KernelBug } from '../kernel/index.ts';

/** A variable whose address is given: `cookiep` of ddi_umem_lock(). */
export class Pointer<T> {
  value: T | null = null;

  /** The value, after a call that has put one there. @throws KernelBug `null-pointer` */
  get deref(): T {
    if (this.value === null) throw new KernelBug('null-pointer', 'nothing was put there');
    return this.value;
  }
}
