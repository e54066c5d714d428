/**
 * The controllers for other emulators: one at a time, on RAM that is the emulator's, with its clock and its interrupt
 * controller. docs/EMBEDDING.md explains it; examples/embed-nvme.ts is the shortest machine around one.
 */
export { createController } from './controller.ts';
export * from './errors.ts';
export type * from './types.ts';
