/** Linux's block I/O on an emulated machine. `bootLinux(machine)` returns its functions by their kernel names. */
export { BioPair } from './bio-3x.ts';
export * from './bio-iter.ts';
export * from './bio-list.ts';
export { BioSet } from './bio-set.ts';
export * from './bio-struct.ts';
export * from './blkdev.ts';
export * from './device.ts';
export { type CoherentMemory, DMA_ERROR_CODE } from './dma-mapping.ts';
export * from './errno.ts';
export * from './gfp.ts';
export { bootLinux, type Linux, type LinuxApi, type LinuxOptions } from './kernel.ts';
export { Mempool } from './mempool.ts';
export { Scatterlist, type SgTable } from './scatterlist.ts';
export type { AttachOptions, ScsiHost } from './sd.ts';
export { KmemCache } from './slab.ts';
export { IO_TLB_OVERFLOW, IO_TLB_SEGSIZE, IO_TLB_SIZE, type SwiotlbOptions } from './swiotlb.ts';
export { LinuxTask } from './task.ts';
export * from './trace.ts';
