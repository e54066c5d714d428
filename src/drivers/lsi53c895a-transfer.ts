// What the LSI driver agrees with each target: width and speed of data, and how the chip's registers say it.
//
// [1] LSI53C895A Technical Manual, SCNTL3 and SXFER
// [2] SPI-2, 10.3: synchronous and wide data transfer request messages

import {
  LSI_SCNTL3_EWS,
  LSI_SCNTL3_SCF,
  LSI_SCNTL3_ULTRA,
  MSG_EXT_SDTR,
  MSG_EXT_SDTR_BYTES,
  MSG_EXT_WDTR,
  MSG_EXT_WDTR_BYTES,
  MSG_EXTENDED,
} from '../../assembly/lsi53c895a/regs.ts';

/** What the program does next: a label of it, and the message that goes out. */
export interface Answer {
  readonly label: 'accept' | 'answer' | 'refuse';
  readonly reply?: readonly number[];
}

const ACCEPT: Answer = { label: 'accept' };
const REFUSE: Answer = { label: 'refuse' };

/** What a chip can do. */
export interface TransferLimits {
  readonly wide: boolean;
  /** Shortest period as SDTR has it ([2] table 53), and words ahead of their acknowledge. */
  readonly syncFactor: number;
  readonly syncOffset: number;
  /** ns of the clock that SCNTL3.SCF divides, and SCNTL3.CCF, which stays. */
  readonly clockNs: number;
  readonly plainTiming: number;
}

/** Divisors that SCNTL3.SCF stands for, doubled, from 1 on ([1] SCNTL3). */
const DIVISORS = [2, 3, 4, 6, 8];
/** Clocks of a transfer period with SXFER.TP 0 and 7. */
const CLOCKS_MIN = 4;
const CLOCKS_MAX = 11;
const ULTRA_BELOW = 25;

export class TargetTransfer {
  readonly id: number;
  readonly #limits: TransferLimits;
  /** What is still to be asked of the target. */
  next: 'width' | 'speed' | null;
  /** SCNTL3 and SXFER. */
  timing: number;
  transfer = 0;

  constructor(id: number, limits: TransferLimits) {
    this.id = id;
    this.#limits = limits;
    this.timing = limits.plainTiming;
    this.next = limits.wide ? 'width' : 'speed';
  }

  get wide(): boolean {
    return (this.timing & LSI_SCNTL3_EWS) !== 0;
  }

  /** After a reset of the target: eight bits, asynchronous, and everything to be asked again. */
  forget(): void {
    this.timing = this.#limits.plainTiming;
    this.transfer = 0;
    this.next = this.#limits.wide ? 'width' : 'speed';
  }

  /** The message that asks for `what`. */
  request(what: 'width' | 'speed'): number[] {
    const { syncFactor, syncOffset } = this.#limits;
    if (what === 'width') return [MSG_EXTENDED, MSG_EXT_WDTR_BYTES, MSG_EXT_WDTR, 1];
    return [MSG_EXTENDED, MSG_EXT_SDTR_BYTES, MSG_EXT_SDTR, syncFactor, syncOffset];
  }

  /** The target does not negotiate. */
  refused(what: 'width' | 'speed'): void {
    if (what === 'width') this.#setWide(false);
    else this.transfer = 0;
    this.next = what === 'width' ? 'speed' : null;
  }

  /** SDTR or WDTR came: in answer to what was asked, or of the target's own, which gets the least of both. */
  hear(bytes: Uint8Array, asked: 'width' | 'speed' | null): Answer {
    const [, length = 0, code = 0, first = 0, second = 0] = bytes;
    if (code === MSG_EXT_WDTR && length === MSG_EXT_WDTR_BYTES) {
      const wide = first === 1 && this.#limits.wide;
      this.#setWide(wide);
      if (asked === 'width') return first <= (this.#limits.wide ? 1 : 0) ? ACCEPT : REFUSE;
      return { label: 'answer', reply: [MSG_EXTENDED, length, code, wide ? 1 : 0] };
    }
    if (code !== MSG_EXT_SDTR || length !== MSG_EXT_SDTR_BYTES) return REFUSE;
    if (asked === 'speed') return this.#setSpeed(first, second) ? ACCEPT : REFUSE;
    const factor = Math.max(first, this.#limits.syncFactor);
    const offset = Math.min(second, this.#limits.syncOffset);
    const kept = this.#setSpeed(factor, offset) ? offset : 0;
    return { label: 'answer', reply: [MSG_EXTENDED, length, code, factor, kept] };
  }

  #setWide(wide: boolean): void {
    this.timing = wide ? this.timing | LSI_SCNTL3_EWS : this.timing & ~LSI_SCNTL3_EWS;
    // [2] 10.3.3: an agreement on width ends the one on speed.
    this.transfer = 0;
    this.next = 'speed';
  }

  /**
   * Takes period and offset, both within what this side can do; what the chip can then do in fact is not faster.
   * False: no such agreement can be kept, and transfers stay asynchronous.
   */
  #setSpeed(factor: number, offset: number): boolean {
    const { syncFactor, syncOffset, clockNs, plainTiming } = this.#limits;
    this.next = null;
    this.transfer = 0;
    this.timing = (this.timing & LSI_SCNTL3_EWS) | plainTiming;
    if (offset === 0) return true;
    if (factor < syncFactor || offset > syncOffset) return false;
    const periodNs = periodOf(factor);
    let best = Number.POSITIVE_INFINITY;
    for (const [index, divisor] of DIVISORS.entries()) {
      const clocks = Math.max(CLOCKS_MIN, Math.ceil((2 * periodNs) / (divisor * clockNs)));
      if (clocks > CLOCKS_MAX || divisor * clocks >= best) continue;
      best = divisor * clocks;
      this.transfer = ((clocks - CLOCKS_MIN) << 5) | offset;
      this.timing = (this.timing & ~LSI_SCNTL3_SCF) | ((index + 1) << 4);
    }
    if (best === Number.POSITIVE_INFINITY) return false;
    if (factor < ULTRA_BELOW) this.timing |= LSI_SCNTL3_ULTRA;
    return true;
  }
}

/** [2] table 53: ns of a period. */
function periodOf(factor: number): number {
  if (factor === 10) return 25;
  if (factor === 11) return 30.3;
  return factor === 12 ? 50 : 4 * factor;
}
