// What a machine and its controllers are made of: what their options mean, and which of them cannot be.

import {
  PROFILE_ADDRESS_BITS,
  PROFILE_DEVICE,
  PROFILE_REVISION,
  PROFILE_SUBSYSTEM,
  PROFILE_SUBSYSTEM_VENDOR,
  PROFILE_VENDOR,
} from '../../assembly/bus/codes.ts';
import { MAPPING_STRIDE } from '../../assembly/bus/guard-codes.ts';
import { MACHINE_NUMBER_MAX } from '../../assembly/bus/layout.ts';
import {
  type ControllerDescription,
  findController,
  findProfile,
  type Profile,
  parameterOf,
} from '../controllers/index.ts';
import type { GuardOptions } from '../guard/index.ts';
import { MachineError } from './errors.ts';
import type { ExternalMemory } from './external.ts';
import type { RamRegion } from './phys-mem.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
const TWO_32 = 2 ** 32;

/**
 * RAM layouts by name. `default`: 64 MiB at 0 and 64 MiB at 4 GiB, so that 24 and 32 address lines are really
 * too few for half of it. `small`: the same idea in less than 1 MiB, for fuzzing.
 */
export const RAM_LAYOUTS = {
  default: [
    { base: 0, bytes: 64 * MIB },
    { base: 4096 * MIB, bytes: 64 * MIB },
  ],
  small: [
    { base: 0, bytes: MIB / 2 },
    { base: 16 * MIB, bytes: MIB / 4 },
    { base: 4096 * MIB, bytes: MIB / 4 },
  ],
} as const satisfies Record<string, readonly RamRegion[]>;

export interface MachineOptions {
  /** A layout by name, or one's own: regions in ascending order, page aligned. Default `default`. */
  readonly ram?: keyof typeof RAM_LAYOUTS | readonly RamRegion[];
  /** Room for RAM disks in bytes, in all; default 64 MiB, 1 MiB with the small layout. */
  readonly diskBytes?: number;
  /** The guard: on by default; `false` costs nothing. */
  readonly guard?: boolean | GuardOptions;
  /**
   * Which machine of several in one guest this is, 0 (default) to 4095: the serial numbers and world wide names that its
   * disks and controllers have of their own differ from those of another.
   */
  readonly number?: number;
  /** RAM of somebody else's, instead of `ram`: `memory` has none, and the guard watches neither writes nor owners. */
  readonly external?: ExternalMemory;
}

export interface ControllerOptions {
  /** A controller's name, or a profile's. */
  readonly kind: string;
  readonly profile?: string | Profile;
  /** Interrupt line 0–31; default is the board's. */
  readonly line?: number;
  /** PCI device number 0–31 on bus 0; default is the first free one from 4 on. */
  readonly slot?: number;
}

export const REGION_RULE =
  'regions are in ascending order, apart, of whole pages of 4096 bytes, at most 16, none of 4 GiB';

/** The regions of a layout. Throws MachineError for one that cannot be. */
export function regionsOf(ram: keyof typeof RAM_LAYOUTS | readonly RamRegion[]): readonly RamRegion[] {
  const layout: readonly RamRegion[] = typeof ram === 'string' ? RAM_LAYOUTS[ram] : ram;
  if (layout.length === 0) throw new MachineError('a machine needs at least one region of RAM');
  for (const { base, bytes } of layout) {
    const whole = Number.isSafeInteger(base + bytes) && base % PAGE === 0 && bytes % PAGE === 0;
    if (!(whole && base >= 0 && bytes > 0 && bytes < TWO_32))
      throw new MachineError(`RAM of ${bytes} bytes at ${base}: ${REGION_RULE}`);
  }
  return layout;
}

/** Throws MachineError for a number that no machine can have. */
export function numberOf({ number = 0 }: MachineOptions): number {
  if (Number.isInteger(number) && number >= 0 && number <= MACHINE_NUMBER_MAX) return number;
  throw new MachineError(
    `number is ${JSON.stringify(number)}; it must be a whole number from 0 to ${MACHINE_NUMBER_MAX}`,
  );
}

/** What the CPU does with RAM that is not ours, the guard is not told. */
export function guardOf({ guard, external }: MachineOptions): boolean | GuardOptions {
  if (guard === false || external === undefined) return guard ?? true;
  return { ...(typeof guard === 'object' ? guard : {}), uninitialised: false, ownership: false };
}

/** What the guard's tables take: a list head a page, nodes, mappings, a bit a byte. */
export function guardBytes(ramBytes: number, guard: boolean | GuardOptions): number {
  if (guard === false) return 0;
  const options = typeof guard === 'object' ? guard : {};
  const capacity = options.capacity ?? 16384;
  const pages = ramBytes / PAGE;
  const written = options.uninitialised === false ? 0 : ramBytes / 8;
  return pages * 4 + (capacity + 2 * pages) * 16 + (capacity + 1) * MAPPING_STRIDE + 65536 + written;
}

/** The controller and the profile that are meant. Throws MachineError for a name that is none. */
export function resolve(options: ControllerOptions): {
  description: ControllerDescription;
  profile: Profile;
} {
  const byProfile = findProfile(options.kind);
  const description = findController(options.kind) ?? byProfile?.description;
  if (description === undefined) throw new MachineError(`no controller is called "${options.kind}"`);
  if (typeof options.profile === 'object') return { description, profile: options.profile };
  const name = options.profile ?? (byProfile === undefined ? description.profiles[0]?.name : options.kind);
  const profile = description.profiles.find((candidate) => candidate.name === name);
  if (profile === undefined) throw new MachineError(`${description.kind} has no profile "${name}"`);
  return { description, profile };
}

/** Fills `words` with what createController() of the module reads of a profile. */
export function writeProfile(words: Uint32Array, description: ControllerDescription, profile: Profile): void {
  words.fill(0);
  words[PROFILE_ADDRESS_BITS] = profile.addressBits;
  const { pci } = profile;
  if (pci !== undefined) {
    words[PROFILE_VENDOR] = Number(pci.vendor);
    words[PROFILE_DEVICE] = Number(pci.device);
    words[PROFILE_SUBSYSTEM_VENDOR] = Number(pci.subsystemVendor ?? pci.vendor);
    words[PROFILE_SUBSYSTEM] = Number(pci.subsystem ?? pci.device);
    words[PROFILE_REVISION] = Number(pci.revision ?? 0);
  }
  for (const [name, parameter] of Object.entries(description.parameters)) {
    words[parameter.word] = parameterOf(description, profile, name);
  }
}
