// The words of the language, and the families of chips that take fewer of them.

/** SCSI phases in the order of their numbers, by the names that come out; others that go in follow. */
export const PHASES = ['DATA_OUT', 'DATA_IN', 'CMD', 'STATUS', 'RES4', 'RES5', 'MSG_OUT', 'MSG_IN'] as const;

const OTHER_PHASES: Readonly<Record<string, number>> = {
  COMMAND: 2,
  RES_OUT: 4,
  RES_IN: 5,
  MESSAGE_OUT: 6,
  MESSAGE_IN: 7,
};

/** Each name of a phase, with its number. */
export const PHASE_NUMBERS: ReadonlyMap<string, number> = new Map<string, number>([
  ...PHASES.map((name, number) => [name, number] as const),
  ...Object.entries(OTHER_PHASES),
]);

/** Words that no symbol can be called. */
export const RESERVED: ReadonlySet<string> = new Set([
  ...PHASE_NUMBERS.keys(),
  ...'AND ATN CARRY ACK TARGET DSAREL FLUSH FROM IF MASK MEMORY NOFLUSH NOT OR PTR REG REL SHL SHR'.split(
    ' ',
  ),
  ...'TO WHEN WITH XOR'.split(' '),
]);

export interface Arch {
  readonly loadStore: boolean;
  readonly wide: boolean;
  /** 64-bit addresses in instructions. */
  readonly long: boolean;
}

const NARROW: Arch = { loadStore: false, wide: false, long: false };
const WIDE: Arch = { loadStore: true, wide: true, long: false };
const LONG: Arch = { loadStore: true, wide: true, long: true };

/** What `ARCH` takes. */
export const ARCHES: ReadonlyMap<string, Arch> = new Map([
  ['810', NARROW],
  ['810A', { ...NARROW, loadStore: true }],
  ['825', { ...NARROW, wide: true }],
  ['825A', WIDE],
  ['860', { ...NARROW, loadStore: true }],
  ['875', WIDE],
  ['895', WIDE],
  ['895A', LONG],
  ['896', LONG],
  ['1010', LONG],
]);
