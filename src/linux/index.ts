/** Linux's block I/O on an emulated machine. `bootLinux(machine)` returns its functions by their kernel names. */
export { BioPair } from './bio-3x.ts';
export * from './bio-iter.ts';
export * from './bio-list.ts';
export { BioSet } from './bio-set.ts';
export * from './bio-struct.ts';
export * from './errno.ts';
export * from './gfp.ts';
export { bootLinux, type Linux, type LinuxApi, type LinuxOptions } from './kernel.ts';
export { Mempool } from './mempool.ts';
export { KmemCache } from './slab.ts';
export { LinuxTask } from './task.ts';
export * from './trace.ts';
