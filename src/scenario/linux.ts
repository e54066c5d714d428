import { MachineError } from '../machine/index.ts';
import type { Harness, HarnessOptions } from './kernel.ts';

/** Boots Linux on the machine and attaches its driver to the controller. */
export function bootLinuxHarness(options: HarnessOptions): Harness {
  throw new MachineError(`the Linux path does not drive ${options.controller.kind}`);
}
