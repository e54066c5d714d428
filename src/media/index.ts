/**
 * Disks' bytes in the host's hands: files, memory, copy-on-write overlays, anything with promises. Give one to
 * `machine.addDisk({ medium })`.
 */
export * from './async.ts';
export { type Backend, type BytesBackend, type BytesOptions, bytesBackend } from './backend.ts';
export type * from './content.ts';
export * from './error.ts';
export { type FileOptions, openFile } from './file.ts';
export type * from './medium.ts';
export { type NbdOptions, openNbd } from './nbd/export.ts';
export { isNbdUri } from './nbd/uri.ts';
export { createQcow2, IMAGE_FORMATS, type ImageFormat, type ImageOptions, openImage } from './open.ts';
export { type AsyncOverlay, type OverlayOptions, overlay, type SyncOverlay } from './overlay.ts';
export { formatQcow2, type Qcow2Shape } from './qcow2/create.ts';
export { type Inflate, type Qcow2Options, qcow2Medium } from './qcow2/image.ts';
export { type RamMedium, ramMedium } from './ram.ts';
export { vhdMedium } from './vhd.ts';
