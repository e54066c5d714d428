// The fault plan: which requests to a disk fail, are torn or take longer. Plain data in the module's memory,
// counted there, so that a snapshot holds how far the plan has come.

import { AT_FAULT_COUNT, AT_FAULTS, FAULT_MAX, FAULT_STRIDE } from '../../assembly/bus/layout.ts';
import {
  FAULT_AT_ARGUMENT,
  FAULT_AT_DISK,
  FAULT_AT_FIRST,
  FAULT_AT_KIND,
  FAULT_AT_LAST,
  FAULT_AT_OPERATIONS,
  FAULT_AT_SKIP,
  FAULT_AT_TIMES,
  FAULT_DELAY,
  FAULT_ERROR,
  FAULT_HOLD,
  FAULT_TORN,
  MEDIA_DISCARD,
  MEDIA_FLUSH,
  MEDIA_READ,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../../assembly/media/codes.ts';
import type { Disk } from './disk.ts';
import { MachineError } from './errors.ts';

export type MediaOperation = 'read' | 'write' | 'flush' | 'discard' | 'zero' | 'verify';

const KINDS = { error: FAULT_ERROR, torn: FAULT_TORN, delay: FAULT_DELAY, hold: FAULT_HOLD } as const;
const OPERATIONS: Readonly<Record<MediaOperation, number>> = {
  read: MEDIA_READ,
  write: MEDIA_WRITE,
  flush: MEDIA_FLUSH,
  discard: MEDIA_DISCARD,
  zero: MEDIA_ZERO,
  verify: MEDIA_VERIFY,
};

export interface Fault {
  readonly disk: Disk;
  /**
   * `error`: a medium error at the first sector of the range that the request touches; what is before it is moved.
   * Of several errors the one at the lowest sector strikes, of everything else the first in the plan. `torn`: only
   * the first `argument` bytes of a write arrive, and it reports success. `delay`: `argument` ns more.
   * `hold`: the request waits until `Machine.release` names the disk and `argument`.
   */
  readonly kind: keyof typeof KINDS;
  /** Default: reads and writes; writes where they are torn, and no other can be. */
  readonly operations?: readonly MediaOperation[] | undefined;
  /** Sectors that the fault is at, in the disk's own; default: all. A flush is everywhere. */
  readonly first?: number | undefined;
  readonly last?: number | undefined;
  /** Matching requests that pass before it strikes; default 0. */
  readonly skip?: number | undefined;
  /** How often it strikes; default 0: for ever. */
  readonly times?: number | undefined;
  readonly argument?: number | undefined;
}

const TWO_32 = 2 ** 32;

/** Adds an entry to the plan in `buffer`. */
export function writeFault(buffer: ArrayBuffer, fault: Fault): void {
  if (fault.disk === undefined) throw new MachineError('fault.disk is missing: it says which disk fails');
  const u32 = new Uint32Array(buffer);
  const count = u32[AT_FAULT_COUNT >>> 2] as number;
  if (count === FAULT_MAX) throw new MachineError(`the fault plan is full: it holds ${FAULT_MAX} entries`);
  const at = (AT_FAULTS + count * FAULT_STRIDE) >>> 2;
  const put = (field: number, value: number, name: string): void => {
    if (!(Number.isInteger(value) && value >= 0 && value < TWO_32)) throw range(name, value, TWO_32 - 1);
    u32[at + (field >>> 2)] = value;
  };
  const putWide = (field: number, value: number, name: string): void => {
    if (!(Number.isInteger(value) && value >= 0 && value <= 2 ** 53)) throw range(name, value, 2 ** 53);
    u32[at + (field >>> 2)] = value % TWO_32;
    u32[at + (field >>> 2) + 1] = Math.floor(value / TWO_32);
  };
  const operations = operationsOf(fault);
  u32.fill(0, at, at + FAULT_STRIDE / 4);
  put(FAULT_AT_DISK, fault.disk.id, 'disk');
  put(FAULT_AT_KIND, KINDS[fault.kind], 'kind');
  put(
    FAULT_AT_OPERATIONS,
    operations.reduce((mask, name) => mask | (1 << OPERATIONS[name]), 0),
    'operations',
  );
  put(FAULT_AT_SKIP, fault.skip ?? 0, 'skip');
  put(FAULT_AT_TIMES, fault.times ?? 0, 'times');
  putWide(FAULT_AT_FIRST, fault.first ?? 0, 'first');
  putWide(FAULT_AT_LAST, fault.last ?? 2 ** 53, 'last');
  putWide(FAULT_AT_ARGUMENT, fault.argument ?? 0, 'argument');
  u32[AT_FAULT_COUNT >>> 2] = count + 1;
}

/** What the fault strikes. Throws MachineError for an entry that never could. */
function operationsOf(fault: Fault): readonly MediaOperation[] {
  const { kind, first = 0, last = 2 ** 53 } = fault;
  const operations = fault.operations ?? (kind === 'torn' ? ['write'] : ['read', 'write']);
  if (operations.length === 0)
    throw new MachineError('fault.operations is empty: the fault would never strike');
  if (kind === 'torn' && operations.some((name) => name !== 'write')) {
    throw new MachineError(`fault.operations is ${operations.join(', ')}; only a write can be torn`);
  }
  if (last < first) throw new MachineError(`fault.last is ${last}, before fault.first, ${first}`);
  return operations;
}

function range(name: string, value: number, limit: number): MachineError {
  return new MachineError(`fault.${name} is ${value}; it must be a whole number from 0 to ${limit}`);
}
