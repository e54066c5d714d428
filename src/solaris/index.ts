/** Solaris's block I/O on an emulated machine. `bootSolaris(machine)` returns its functions by their kernel names. */
export { PFN_INVALID, S_READ, S_WRITE } from './as.ts';
export * from './buf-struct.ts';
export * from './errno.ts';
export {
  bootSolaris,
  LOCK_LEVEL,
  type ProcessOptions,
  type Solaris,
  type SolarisApi,
  type SolarisOptions,
} from './kernel.ts';
export { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';
export { Pointer } from './pointer.ts';
export { Kthread, Proc, Project, ResourceControl, Zone } from './proc.ts';
export {
  DDI_UMEM_NOSLEEP,
  DDI_UMEM_PAGEABLE,
  DDI_UMEM_SLEEP,
  DDI_UMEM_TRASH,
  DDI_UMEMLOCK_LONGTERM,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  KMEM_NON_PAGEABLE,
  KMEM_PAGEABLE,
  UMEM_LOCKED,
  UMEM_TRASH,
  type UmemCallbackOps,
  UmemCookie,
} from './umem-cookie.ts';
