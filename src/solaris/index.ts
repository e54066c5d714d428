/** Solaris's block I/O on an emulated machine. `bootSolaris(machine)` returns its functions by their kernel names. */
export {
  DDI_NEVERSWAP_ACC,
  DDI_STRUCTURE_BE_ACC,
  DDI_STRUCTURE_LE_ACC,
  DdiAccHandle,
  type DdiDeviceAccAttr,
} from './acc.ts';
export { AioReq, type AioResult } from './aio.ts';
export { PFN_INVALID, S_READ, S_WRITE } from './as.ts';
export { DK_FIXED_DISK, DKIOCFLUSHWRITECACHE, DKIOCGMEDIAINFO } from './blkdev.ts';
export { errorOfBind, rulesOf, type TransferRules } from './blkdev-attr.ts';
export type { BdDisk, BdHost, BdOptions } from './blkdev-struct.ts';
export * from './buf-struct.ts';
export { type Caddr, FKIOCTL } from './copy.ts';
export { Cred, kcred } from './cred.ts';
export type { Major } from './ddi.ts';
export { DevInfo, type MinorNode, S_IFBLK, S_IFCHR } from './dev-info.ts';
export * from './dev-ops.ts';
export { Diskhd } from './disksort.ts';
export { COPYBUF_TAG, MAX_COPYBUF_BYTES } from './dma.ts';
export * from './dma-attr.ts';
export { DDI_FM_NONFATAL, DDI_FM_OK, DDI_FME_VERSION, type DdiFmError } from './dma-fault.ts';
export {
  DMA_MEM_TAG,
  IOMEM_DATA_CACHED,
  IOMEM_DATA_UC_WR_COMBINE,
  IOMEM_DATA_UNCACHED,
} from './dma-mem.ts';
export {
  DDI_DMA_CALLBACK_DONE,
  DDI_DMA_CALLBACK_RUNOUT,
  DDI_DMA_DONTWAIT,
  DDI_DMA_SLEEP,
  DdiDmaCookie,
  DdiDmaHandle,
  type DmaWaitfp,
} from './dma-struct.ts';
export * from './errno.ts';
export * from './intr.ts';
export {
  bootSolaris,
  LOCK_LEVEL,
  type ProcessOptions,
  type Solaris,
  type SolarisApi,
  type SolarisOptions,
} from './kernel.ts';
export { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';
export { KmemCache } from './kmem-alloc.ts';
export {
  type Entered,
  Kcondvar,
  Kmutex,
  KmutexIntr,
  MUTEX_DEFAULT,
  MUTEX_DRIVER,
  TR_CLOCK_TICK,
  TR_MICROSEC,
  TR_MILLISEC,
  TR_NANOSEC,
  TR_SEC,
} from './mutex.ts';
export { DEV_BSIZE, MAXPHYS, type Mincnt, type Strategy } from './physio.ts';
export { Pointer } from './pointer.ts';
export { Kthread, Proc, Project, ResourceControl, Zone } from './proc.ts';
export {
  DDI_DEV_AUTOINCR,
  DDI_DEV_NO_AUTOINCR,
  DDI_ME_REGSPEC_RANGE,
  DDI_ME_RNUMBER_RANGE,
} from './regs.ts';
export { Krwlock, Ksema, RW_DRIVER, RW_READER, RW_WRITER, SEMA_DRIVER } from './sema.ts';
export { SoftState } from './soft-state.ts';
export { SpecFile } from './specfs.ts';
export { DDI_NOSLEEP, DDI_SLEEP, DdiTaskq, TASKQ_DEFAULTPRI } from './taskq.ts';
export { TimeoutId } from './time.ts';
export {
  type Iovec,
  UIO_READ,
  UIO_SYSSPACE,
  UIO_USERISPACE,
  UIO_USERSPACE,
  UIO_WRITE,
  Uio,
  type UioInit,
} from './uio.ts';
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
