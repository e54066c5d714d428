export { type AccessSize, Bus } from './bus.ts';
export * from './controller.ts';
export * from './disk.ts';
export * from './errors.ts';
export * from './faults.ts';
export * from './machine.ts';
export { type Flavour, loadModule } from './module.ts';
export { PhysMem, type RamRegion } from './phys-mem.ts';
export { Snapshot } from './snapshot.ts';
