// The hardware part of the drivers: what programs a controller, for any kernel.

export { Aha1542Error, attachAha1542 } from './aha1542.ts';
export { AhciError, type AhciOptions, attachAhci } from './ahci.ts';
export { attachDriver } from './attach.ts';
export * from './driver.ts';
export { attachLsi53c895a, LsiError } from './lsi53c895a.ts';
export { attachNvme, NvmeError, type NvmeOptions } from './nvme.ts';
export { attachPiixIde, PiixIdeError } from './piix-ide.ts';
export { attachVirtioBlk, type VirtioBlkOptions, VirtioError } from './virtio-blk.ts';
