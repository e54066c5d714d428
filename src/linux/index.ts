/** Linux's block I/O on an emulated machine. `bootLinux(machine)` returns its functions by their kernel names. */
export * from './bio-struct.ts';
export * from './errno.ts';
export * from './gfp.ts';
export { bootLinux, type Linux, type LinuxApi, type LinuxOptions } from './kernel.ts';
export { LinuxTask } from './task.ts';
export * from './trace.ts';
