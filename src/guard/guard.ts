// The host's half of the guard: names the mappings that the module knows by slot, collects the module's
// findings and those of the kernels, and folds what is the same.

import {
  FINDING_AT_ADDRESS,
  FINDING_AT_BYTES,
  FINDING_AT_COMMAND,
  FINDING_AT_COUNT,
  FINDING_AT_DEVICE,
  FINDING_AT_DIRECTION,
  FINDING_AT_DRIVEN,
  FINDING_AT_MAPPING,
  FINDING_AT_OTHER,
  FINDING_AT_RULE,
  FINDING_AT_TIME,
  FINDING_STRIDE,
  GUARD_ADDRESSES,
  GUARD_INIT,
  GUARD_MAPPINGS,
} from '../../assembly/bus/guard-codes.ts';
import {
  AT_GUARD_FINDING_COUNT,
  AT_GUARD_FINDING_LOST,
  AT_GUARD_FINDINGS,
  AT_GUARD_FLAGS,
} from '../../assembly/bus/layout.ts';
import { HARDWARE_RULES, RULES, type Rule } from './rules.ts';

/** Which way a device may use memory: `read` it, `write` it, or both. */
export type Access = 'read' | 'write' | 'both';

const CODES: Readonly<Record<Access, number>> = { read: 1, write: 2, both: 3 };
const ACCESSES: readonly (Access | null)[] = [null, 'read', 'write', 'both'];

/** What the guard is to watch. All on by default. */
export interface GuardOptions {
  /**
   * Which mapping allows which device to do what (dev-unmapped, dev-after-unmap, dev-overrun, dev-direction).
   * `once-used`: from the first call of map() on.
   */
  readonly mappings?: boolean | 'once-used';
  /** Bytes that nobody wrote (dev-uninit): an eighth of the RAM in tables. */
  readonly uninitialised?: boolean;
  /**
   * Whose memory is whose: what the CPU touches while a device or a pool has it (own-cpu, sync-missing,
   * pool-use-after-free, pool-nested), and what becomes of pins (pin-*, user-unmapped). Needs `mappings`.
   */
  readonly ownership?: boolean;
  /** Mappings that may be alive at once: 1 to 2^20, default 16384. */
  readonly capacity?: number;
}

/** A mapping as whoever made it described it. */
export interface Mapping {
  readonly handle: number;
  readonly device: string;
  /** First bus address, and bytes. */
  readonly address: number;
  readonly bytes: number;
  readonly access: Access;
  /** How it was made: `dma_map_sg`, `dma_alloc_coherent`, `guard.map` … */
  readonly kind: string;
  /** Where it was made, as the maker calls the place; empty if it doesn't say. */
  readonly where: string;
  /** Virtual time in ns. */
  readonly since: number;
  /** It ended because its pages were unlocked under it: who uses it now breaks `use-after-unlock`. */
  readonly unlocked?: true;
}

/** One mistake, with how often it was seen at the same place. */
export interface Finding {
  readonly rule: Rule;
  /** One sentence: who did what to which bytes. */
  readonly message: string;
  readonly device: string | null;
  /** Address that was meant; null where the rule has none. */
  readonly address: number | null;
  /** Address that the device drove: differs where lines were missing. */
  readonly driven: number | null;
  readonly length: number;
  readonly direction: Access | null;
  readonly mapping: Mapping | null;
  /** The controller's own number of the command. */
  readonly command: number | null;
  readonly count: number;
  /** Virtual time in ns of the first. */
  readonly time: number;
}

/** What a kernel or driver reports by itself. */
export interface Report {
  readonly rule: Rule;
  readonly message: string;
  readonly device?: string | null;
  readonly address?: number | null;
  readonly length?: number;
  readonly direction?: Access | null;
  readonly mapping?: Mapping | null;
  readonly command?: number | null;
}

/** The module's functions and the memory that the guard needs. */
export interface GuardPort {
  readonly buffer: ArrayBuffer;
  enableGuard(flags: number, mappings: number): number;
  guardMap(device: number, low: number, high: number, bytes: number, access: number, handle: number): number;
  guardUnmap(slot: number): number;
  guardHasWritten(slot: number): number;
  guardStale(slot: number, from: number, to: number): void;
  guardWritten(index: number, bytes: number, written: number): void;
  now(): number;
}

/** A device, by the id that the module gave it. */
export interface GuardedDevice {
  readonly id: number;
  readonly name: string;
}

/** What the host knows in a snapshot; the module's memory has the rest. Plain data, changed by nobody. */
export interface GuardState {
  readonly nextHandle: number;
  readonly lost: number;
  readonly live: readonly LiveMapping[];
  readonly ended: readonly Mapping[];
  readonly findings: readonly Finding[];
}

interface LiveMapping extends Mapping {
  readonly slot: number;
}

const DEFAULT_CAPACITY = 16384;
/** Ended mappings that findings can still name. */
const REMEMBERED = 4096;
const TWO_32 = 2 ** 32;

export class Guard {
  readonly enabled: boolean;
  readonly #port: GuardPort;
  readonly #u32: Uint32Array;
  readonly #names = new Map<number, string>();
  readonly #live = new Map<number, LiveMapping>();
  /** Mappings that ended, each at the place that its handle gives it until another takes that place. */
  readonly #ended: (Mapping | undefined)[] = [];
  readonly #findings: Finding[] = [];
  /** Where in #findings what is the same as it stands. */
  readonly #places = new Map<string, number>();
  readonly #mappings: boolean;
  /** GUARD_* of all checks that there will be, and mappings that may be alive at once. */
  readonly checks: number;
  readonly capacity: number;
  /** Whether the machine has to tell of every byte that the CPU writes. */
  readonly watchesWrites: boolean;
  /** Whether kernels are to look at what the CPU touches. */
  readonly watchesOwners: boolean;
  readonly #listeners: ((finding: Finding) => void)[] = [];
  #nextHandle = 1;
  #lost = 0;
  /** What nothing has changed since. */
  #state: GuardState | null = null;

  /** Made by the machine, once its RAM is in place. `false`: off, at no cost. */
  constructor(port: GuardPort, options: GuardOptions | boolean) {
    this.#port = port;
    this.#u32 = new Uint32Array(port.buffer);
    this.enabled = options !== false;
    const wanted = typeof options === 'object' ? options : {};
    this.#mappings = this.enabled && wanted.mappings !== false;
    this.watchesWrites = this.enabled && wanted.uninitialised !== false;
    this.watchesOwners = this.#mappings && wanted.ownership !== false;
    this.checks =
      GUARD_ADDRESSES + (this.#mappings ? GUARD_MAPPINGS : 0) + (this.watchesWrites ? GUARD_INIT : 0);
    const capacity = wanted.capacity ?? DEFAULT_CAPACITY;
    this.capacity = capacity;
    if (!this.enabled) return;
    if (!(Number.isInteger(capacity) && capacity >= 1 && capacity <= 2 ** 20)) {
      throw new RangeError(`guard.capacity is ${capacity}; it must be a whole number from 1 to 1048576`);
    }
    this.#enable(wanted.mappings === 'once-used' ? this.checks - GUARD_MAPPINGS : this.checks);
  }

  #enable(checks: number): void {
    if (this.#port.enableGuard(checks, this.capacity) === 0) {
      throw new RangeError(`no room for the guard's tables of ${this.capacity} mappings`);
    }
  }

  /** Tells the guard how a device is called in findings. */
  introduce(device: GuardedDevice): void {
    this.#names.set(device.id, device.name);
  }

  /**
   * Allows `device` to use `bytes` bytes at bus address `address`. Returns a handle for unmap(), 0 while the
   * guard doesn't watch mappings. Throws RangeError when its tables are full.
   */
  map(
    device: GuardedDevice,
    address: number,
    bytes: number,
    access: Access,
    kind = 'guard.map',
    where = '',
  ): number {
    if (!this.#mappings || bytes === 0) return 0;
    if (this.#word(AT_GUARD_FLAGS) !== this.checks) this.#enable(this.checks);
    this.#state = null;
    const handle = this.#nextHandle++;
    const slot = this.#port.guardMap(
      device.id,
      (address % TWO_32) | 0,
      Math.floor(address / TWO_32),
      bytes,
      CODES[access],
      handle,
    );
    if (slot === 0) throw new RangeError('the guard has no room for another mapping: raise guard.capacity');
    const since = this.#port.now();
    this.#live.set(handle, { handle, slot, device: device.name, address, bytes, access, kind, where, since });
    return handle;
  }

  /**
   * Ends a mapping; accesses from now on are too late. Unknown handles are ignored. `unlocked`: it ends because nobody
   * keeps its pages in place any more.
   */
  unmap(handle: number, unlocked = false): void {
    const mapping = this.#live.get(handle);
    if (mapping === undefined) return;
    this.#state = null;
    this.#port.guardUnmap(mapping.slot);
    this.#live.delete(handle);
    this.#ended[handle % REMEMBERED] = unlocked ? { ...mapping, unlocked } : mapping;
  }

  /** Whether the device has written through a live mapping. */
  hasWritten(handle: number): boolean {
    const mapping = this.#live.get(handle);
    return mapping !== undefined && this.#port.guardHasWritten(mapping.slot) !== 0;
  }

  /**
   * The CPU wrote the bytes `from` to `to` of a live mapping: a device that uses them before they are synced for it
   * (`to` of 0) breaks `sync-missing`.
   */
  stale(handle: number, from: number, to: number): void {
    const mapping = this.#live.get(handle);
    if (mapping !== undefined) this.#port.guardStale(mapping.slot, from, to);
  }

  /** The mapping behind a handle, live or ended not long ago. */
  mapping(handle: number): Mapping | null {
    const live = this.#live.get(handle);
    if (live !== undefined) return live;
    const ended = this.#ended[handle % REMEMBERED];
    return ended?.handle === handle ? ended : null;
  }

  /** Mappings that are live now. */
  get live(): Iterable<Mapping> {
    return this.#live.values();
  }

  /** Adds a finding of a kernel's or driver's own; folded with an equal one. */
  report(report: Report): void {
    if (!this.enabled) return;
    this.#drain();
    this.#add({
      rule: report.rule,
      message: report.message,
      device: report.device ?? null,
      address: report.address ?? null,
      driven: null,
      length: report.length ?? 0,
      direction: report.direction ?? null,
      mapping: report.mapping ?? null,
      command: report.command ?? null,
      count: 1,
      time: this.#port.now(),
    });
  }

  /** Calls `listener` for each new finding, when it is collected. */
  onFinding(listener: (finding: Finding) => void): void {
    this.#listeners.push(listener);
  }

  /** Everything found so far, in order. */
  findings(): readonly Finding[] {
    if (this.enabled) this.#drain();
    return this.#findings;
  }

  /** Findings that the module had no room to describe. */
  get lost(): number {
    if (this.enabled) this.#drain();
    return this.#lost;
  }

  /** Forgets the findings so far. */
  clear(): void {
    if (this.enabled) this.#drain();
    this.#state = null;
    this.#findings.length = 0;
    this.#places.clear();
    this.#lost = 0;
  }

  /** What a snapshot holds of the guard. The machine calls this. */
  save(): GuardState {
    this.#state ??= {
      nextHandle: this.#nextHandle,
      lost: this.#lost,
      live: [...this.#live.values()],
      ended: this.#ended.filter((mapping) => mapping !== undefined),
      findings: [...this.#findings],
    };
    return this.#state;
  }

  /** Puts back what save() has returned, once the module's memory is as it was then. The machine calls this. */
  restore(state: GuardState): void {
    if (state === this.#state) return;
    this.#nextHandle = state.nextHandle;
    this.#lost = state.lost;
    this.#live.clear();
    for (const mapping of state.live) this.#live.set(mapping.handle, mapping);
    this.#ended.length = 0;
    for (const mapping of state.ended) this.#ended[mapping.handle % REMEMBERED] = mapping;
    this.#findings.length = 0;
    this.#places.clear();
    for (const finding of state.findings) {
      this.#places.set(keyOf(finding), this.#findings.length);
      this.#findings.push(finding);
    }
    this.#state = state;
  }

  #drain(): void {
    const count = this.#word(AT_GUARD_FINDING_COUNT);
    const lost = this.#word(AT_GUARD_FINDING_LOST);
    if (lost > 0) this.#state = null;
    this.#lost += lost;
    this.#u32[AT_GUARD_FINDING_LOST >>> 2] = 0;
    if (count === 0) return;
    const table = this.#word(AT_GUARD_FINDINGS);
    this.#u32[AT_GUARD_FINDING_COUNT >>> 2] = 0;
    for (let i = 0; i < count; i++) this.#add(this.#decode(table + i * FINDING_STRIDE));
  }

  #decode(at: number): Finding {
    const id = this.#word(at + FINDING_AT_DEVICE);
    const device = this.#names.get(id) ?? `device ${id}`;
    const address = this.#wide(at + FINDING_AT_ADDRESS);
    const driven = this.#wide(at + FINDING_AT_DRIVEN);
    const length = this.#word(at + FINDING_AT_BYTES);
    const direction = ACCESSES[this.#word(at + FINDING_AT_DIRECTION)] ?? null;
    const mapping = this.mapping(this.#word(at + FINDING_AT_MAPPING));
    const seen = HARDWARE_RULES.get(this.#word(at + FINDING_AT_RULE)) ?? 'dev-hole';
    const rule = seen === 'dev-after-unmap' && mapping?.unlocked === true ? 'use-after-unlock' : seen;
    const other = this.#word(at + FINDING_AT_OTHER);
    return {
      rule,
      message: describe(rule, device, {
        address,
        driven,
        length,
        direction,
        mapping,
        other: this.#names.get(other),
      }),
      device,
      address,
      driven,
      length,
      direction,
      mapping,
      command: this.#word(at + FINDING_AT_COMMAND),
      count: this.#word(at + FINDING_AT_COUNT),
      time: this.#wide(at + FINDING_AT_TIME),
    };
  }

  #add(finding: Finding): void {
    this.#state = null;
    const key = keyOf(finding);
    const place = this.#places.get(key) ?? -1;
    const old = this.#findings[place];
    if (old !== undefined) {
      this.#findings[place] = { ...old, count: old.count + finding.count };
      return;
    }
    this.#places.set(key, this.#findings.length);
    this.#findings.push(finding);
    for (const listener of this.#listeners) listener(finding);
  }

  #word(at: number): number {
    return this.#u32[at >>> 2] as number;
  }

  #wide(at: number): number {
    return this.#word(at + 4) * TWO_32 + this.#word(at);
  }
}

/** What findings have in common that are counted as one. */
function keyOf({ rule, device, message }: Finding): string {
  return `${rule}\n${device}\n${message}`;
}

interface What {
  readonly address: number;
  readonly driven: number;
  readonly length: number;
  readonly direction: Access | null;
  readonly mapping: Mapping | null;
  readonly other: string | undefined;
}

function describe(rule: Rule, device: string, what: What): string {
  const verb = what.direction === 'write' ? 'wrote' : 'read';
  const did = `${device} ${verb} ${what.length} bytes at ${hex(what.address)}`;
  const of = what.mapping === null ? '' : ` (${nameOf(what.mapping)})`;
  if (rule === 'dev-truncated') {
    return `${device} meant ${hex(what.address)} but drives too few address lines: it ${verb} ${what.length} bytes at ${hex(what.driven)}`;
  }
  if (rule === 'dev-registers') return `${did}, which are registers of ${what.other ?? 'a device'}`;
  if (rule === 'desc-loop') {
    return `${device}: the descriptor chain at ${hex(what.address)} loops or exceeds its bound`;
  }
  return `${did}: ${RULES[rule]}${of}`;
}

/** A mapping in a few words, for messages. */
export function nameOf(mapping: Mapping): string {
  const where = mapping.where === '' ? '' : ` in ${mapping.where}`;
  return `${mapping.kind} of ${mapping.bytes} bytes at ${hex(mapping.address)} for ${mapping.access}${where}`;
}

/** An address as findings and reports write it. */
export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
