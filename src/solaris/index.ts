/** Solaris's block I/O on an emulated machine. `bootSolaris(machine)` returns its functions by their kernel names. */
export * from './buf-struct.ts';
export * from './errno.ts';
export {
  bootSolaris,
  type ProcessOptions,
  type Solaris,
  type SolarisApi,
  type SolarisOptions,
} from './kernel.ts';
export { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';
export { Kthread, Proc, Project, ResourceControl, Zone } from './proc.ts';
