// How memory becomes cookies and windows: the arithmetic of a binding, which touches nothing.
//
// Memory is a list of pieces, each within one page. Pieces out of the device's reach go through pages of the copy
// buffer (slots); the others are merged into cookies. Cookies fill windows until a window would need more slots, more
// cookies or more bytes than there may be.

import type { DmaLimits } from './dma-attr.ts';

const PAGE = 4096;

/** Bytes that follow each other in physical memory. */
export interface Piece {
  readonly phys: number;
  readonly bytes: number;
}

/** What becomes a cookie: memory as it lies, or a piece that goes through the copy buffer. */
export interface Run extends Piece {
  /** The page of the copy buffer; DIRECT: none. While only `bounces` is known: 0. */
  readonly slot: number;
}

export const DIRECT = -1;

export interface WindowPlan {
  /** Where it begins in the object. */
  readonly offset: number;
  readonly bytes: number;
  readonly runs: readonly Run[];
  /** Some of its memory goes through the copy buffer. */
  readonly bounced: boolean;
}

/** BNC-01, BNC-02: one past the last byte is held against the inclusive limit. */
function outOfReach({ phys, bytes }: Piece, { lo, hi }: DmaLimits): boolean {
  return phys < lo || phys + bytes > hi;
}

/** BNC-05: memory lies on both sides of the segment boundary that the device cannot cross at all. */
function straddles(pieces: readonly Piece[], seg: number): boolean {
  const above = pieces.filter(({ phys, bytes }) => phys + bytes > seg).length;
  return (above > 0 && above < pieces.length) || pieces.some(({ phys }, i) => i > 0 && phys === seg + 1);
}

/** CKE-01 to CKE-06: the cookies of the whole object, in order. Those that bounce have slot 0 for now. */
export function formCookies(pieces: readonly Piece[], limits: DmaLimits): Run[] {
  const fold = limits.bounceOnSeg && straddles(pieces, limits.seg);
  const runs: { phys: number; bytes: number; slot: number }[] = [];
  let nextPage = -1;
  for (const piece of pieces) {
    const { phys, bytes } = piece;
    const last = runs.at(-1);
    const adjacent = phys === nextPage;
    nextPage = phys - (phys % PAGE) + PAGE;
    if (outOfReach(piece, limits) || (fold && phys + bytes > limits.seg)) {
      runs.push({ phys, bytes, slot: 0 });
    } else if (
      last !== undefined &&
      last.slot === DIRECT &&
      adjacent &&
      phys % (limits.seg + 1) !== 0 &&
      last.bytes + bytes <= limits.cookie
    ) {
      last.bytes += bytes;
    } else {
      runs.push({ phys, bytes, slot: DIRECT });
    }
  }
  return runs;
}

/** BNC-04: pages of copy buffer that cookies ask for, when none is used twice. */
export function slotsWanted(runs: readonly Run[]): number {
  return runs.reduce((sum, { slot }) => sum + (slot === DIRECT ? 0 : 1), 0);
}

/** One window that grows. */
interface Open {
  runs: Run[];
  bytes: number;
}

class WindowBuilder {
  readonly done: WindowPlan[] = [];
  private readonly limits: DmaLimits;
  private readonly slots: number;
  private open: Open = { runs: [], bytes: 0 };
  private offset = 0;
  /** Slots given out since they were last begun with. */
  private used = 0;

  constructor(limits: DmaLimits, slots: number) {
    this.limits = limits;
    this.slots = slots;
  }

  /** Adds the next cookie; false: WIN-03, there is no room for what would have to be carried over. */
  add(run: Run): boolean {
    const { limits, open } = this;
    const bounces = run.slot !== DIRECT;
    if (bounces && this.used + 1 > this.slots) return this.cut(run, true);
    if (bounces) this.used++;
    const placed = bounces ? { ...run, slot: this.used - 1 } : run;
    if (open.runs.length >= limits.sgllen) return this.cut(placed, false);
    this.fill(placed);
    return true;
  }

  /** What is left is the last window (WIN-07: if anything is). */
  finish(): readonly WindowPlan[] {
    this.close();
    return this.done;
  }

  /**
   * WIN-01, WIN-02, WIN-04: ends the window at a multiple of the granularity, what is behind that begins the next one,
   * and the cookie follows. With `recycle` the slots are given out from the first on again.
   */
  private cut(run: Run, recycle: boolean): boolean {
    const { limits, open } = this;
    const trim = open.bytes % limits.granular;
    if (trim > 0 && limits.sgllen === 1) return false;
    const tail = trim > 0 ? this.takeTail(trim) : null;
    this.close();
    if (recycle) this.used = 0;
    if (tail !== null) this.push(recycle ? this.place(tail) : tail);
    this.fill(recycle ? this.place(run) : run);
    return true;
  }

  /** Gives a run that bounces the next slot. */
  private place(run: Run): Run {
    return run.slot === DIRECT ? run : { ...run, slot: this.used++ };
  }

  /** Takes `bytes` from the end of the window's last cookie. */
  private takeTail(bytes: number): Run {
    const { open } = this;
    const last = open.runs.pop();
    // A window of several cookies ends with one of a page at least, and the remainder is less than that.
    if (last === undefined || last.bytes < bytes) throw new RangeError(`no ${bytes} bytes to carry over`);
    const kept = last.bytes - bytes;
    if (kept > 0) open.runs.push({ ...last, bytes: kept });
    open.bytes -= bytes;
    return { phys: last.phys + kept, bytes, slot: last.slot };
  }

  /** WIN-05, WIN-06: adds what there is room for; the rest of the cookie begins the next window. */
  private fill(run: Run): void {
    const room = this.limits.window - this.open.bytes;
    if (run.bytes <= room) {
      this.push(run);
      return;
    }
    if (room > 0) this.push({ ...run, bytes: room });
    this.close();
    this.push({ phys: run.phys + room, bytes: run.bytes - room, slot: run.slot });
  }

  private push(run: Run): void {
    this.open.runs.push(run);
    this.open.bytes += run.bytes;
  }

  private close(): void {
    const { runs, bytes } = this.open;
    if (bytes > 0) {
      const bounced = runs.some(({ slot }) => slot !== DIRECT);
      this.done.push({ offset: this.offset, bytes, runs, bounced });
    }
    this.offset += bytes;
    this.open = { runs: [], bytes: 0 };
  }
}

/** The windows of an object; null when no windows can be made (WIN-03). */
export function buildWindows(
  runs: readonly Run[],
  limits: DmaLimits,
  slots: number,
): readonly WindowPlan[] | null {
  const builder = new WindowBuilder(limits, slots);
  for (const run of runs) if (!builder.add(run)) return null;
  return builder.finish();
}
