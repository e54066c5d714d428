/**
 * What the host knows of a kind of controller: how a profile's fields become the words that the model reads,
 * and what its DMA can do. One file a controller beside this one; index.ts lists them.
 */

export type ControllerKind = 'aha1542' | 'piix-ide' | 'ahci' | 'nvme' | 'virtio-blk' | 'lsi53c895a';

/** A field of a profile's `parameters`: which word of the profile it is, and what it may hold. */
export interface Parameter {
  /** Index of the word in the model's profile (a PROFILE_* constant of the controller's regs.ts). */
  readonly word: number;
  readonly min: number;
  readonly max: number;
  /** Value where a profile leaves the field out. */
  readonly default: number;
  /** One sentence: what the number means, with its unit. */
  readonly about: string;
}

/** One board's behaviour as data (firmware/profiles/). */
export interface Profile {
  readonly name: string;
  readonly controller: string;
  /** The board or chip that behaves so. */
  readonly board: string;
  /** True where no such board was ever made. */
  readonly artificial: boolean;
  readonly about: string;
  /** Address lines that the board drives, whatever its registers claim: 16 to 64. */
  readonly addressBits: number;
  readonly pci?: PciIdentity;
  /** Numbers, or true and false for 1 and 0. */
  readonly parameters: Readonly<Record<string, number | boolean>>;
}

/** PCI ids, each as a number or as text such as "0x8086". */
export interface PciIdentity {
  readonly vendor: number | string;
  readonly device: number | string;
  readonly subsystemVendor?: number | string;
  readonly subsystem?: number | string;
  readonly revision?: number | string;
}

/** What one command of the controller can carry. */
export interface ControllerLimits {
  readonly addressBits: number;
  readonly maxSegments: number;
  readonly maxSegmentBytes: number;
  /** Segments may not cross a multiple of this many bytes; 0: no boundary. */
  readonly boundary: number;
  /** Addresses and lengths are multiples of this many bytes. */
  readonly alignment: number;
}

/** `count` ports from `first` on, which a board decodes at fixed numbers; the host has them as its BAR `bar`. */
export interface PortRange {
  readonly bar: number;
  readonly first: number;
  readonly count: number;
}

/** A write to the configuration space. */
export interface ConfigWrite {
  readonly at: number;
  readonly size: 1 | 2 | 4;
  readonly value: number;
}

export interface ControllerDescription {
  readonly kind: ControllerKind;
  /** KIND_* of assembly/bus/codes.ts. */
  readonly code: number;
  readonly title: string;
  readonly bus: 'isa' | 'pci';
  readonly specifications: readonly string[];
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** The plain profile first. */
  readonly profiles: readonly Profile[];
  /** Interrupt line that the board drives if nobody says otherwise. */
  readonly line: number;
  /** How many lines it drives, from `line` up; default one. */
  readonly lines?: number;
  /** What a BIOS writes into the configuration space beside BARs and the command register. */
  readonly bios?: readonly ConfigWrite[];
  limits(profile: Profile): ControllerLimits;
  /** Ports that no register of a configuration space moves: ISA boards have them as BAR 0. */
  ports?(profile: Profile): readonly PortRange[];
}

/** A profile's parameter as the model gets it. */
export function parameterOf(description: ControllerDescription, profile: Profile, name: string): number {
  const value = profile.parameters[name];
  if (value === undefined) return description.parameters[name]?.default ?? 0;
  return Number(value);
}
