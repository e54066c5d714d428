/**
 * Backplane: disk controllers whose DMA has the limits of real hardware, and the kernel interfaces that have to
 * live with those limits. This entry has the machine; `backplane/linux` has Linux's block I/O.
 */
export * from './controllers/index.ts';
export * from './guard/index.ts';
export * from './machine/index.ts';
