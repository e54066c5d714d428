/**
 * Disks' bytes in the host's hands: files, memory, copy-on-write overlays, anything with promises. Give one to
 * `machine.addDisk({ medium })`.
 */
export * from './async.ts';
export * from './error.ts';
export { type FileOptions, openFile } from './file.ts';
export type * from './medium.ts';
export { type AsyncOverlay, type OverlayOptions, overlay, type SyncOverlay } from './overlay.ts';
export { type RamMedium, ramMedium } from './ram.ts';
