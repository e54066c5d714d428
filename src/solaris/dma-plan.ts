// How memory becomes cookies and windows: the arithmetic of a binding, which touches nothing.
//
// Memory comes as pieces, each within one page. Pieces out of the device's reach go through pages of the copy
// buffer (slots); the others are merged into cookies. Cookies fill windows until a window would need more slots, more
// cookies or more bytes than there may be.

import type { DmaLimits } from './dma-attr.ts';

const PAGE = 4096;

/** What becomes a cookie: bytes that follow each other in physical memory. */
export class Run {
  phys: number;
  bytes: number;
  /** The page of the copy buffer; DIRECT: the memory as it lies. While only `bounces` is known: 0. */
  slot: number;

  constructor(phys: number, bytes: number, slot: number) {
    this.phys = phys;
    this.bytes = bytes;
    this.slot = slot;
  }
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

/** Makes the cookies of an object of its pieces, each within one page, in order (CKE-01 to CKE-06). */
export class CookieFormer {
  /** Those that bounce have slot 0 for now. */
  readonly runs: Run[] = [];
  /** BNC-04: pages of copy buffer that they ask for, when none is used twice. */
  slots = 0;
  private readonly limits: DmaLimits;
  private readonly segment: number;
  /** BNC-05: from this address on memory bounces whatever the limits say. */
  private readonly foldAt: number;
  /** The run that the next piece may lengthen, and the page that would have to hold it. */
  private open: Run | null = null;
  private nextPage = -1;

  /** @param fold memory lies on both sides of a segment boundary that the device cannot cross at all */
  constructor(limits: DmaLimits, fold: boolean) {
    this.limits = limits;
    this.segment = limits.seg + 1;
    this.foldAt = fold ? limits.seg : Number.POSITIVE_INFINITY;
  }

  /** The next piece: `bytes` bytes from `offset` on of the page at `page`. */
  add(page: number, offset: number, bytes: number): void {
    const phys = page + offset;
    const { open, limits } = this;
    const adjacent = phys === this.nextPage;
    this.nextPage = page + PAGE;
    // BNC-01, BNC-02: one past the last byte is held against the inclusive limit.
    if (phys < limits.lo || phys + bytes > limits.hi || phys + bytes > this.foldAt) {
      this.runs.push(new Run(phys, bytes, 0));
      this.slots++;
      this.open = null;
    } else if (open !== null && adjacent && !this.begins(phys) && open.bytes + bytes <= limits.cookie) {
      open.bytes += bytes;
    } else {
      this.open = new Run(phys, bytes, DIRECT);
      this.runs.push(this.open);
    }
  }

  /** True at the beginning of a segment. */
  private begins(phys: number): boolean {
    const segment = phys / this.segment;
    return Math.floor(segment) === segment;
  }
}

/** BNC-05: whether pieces lie on both sides of the segment boundary. */
export class FoldTest {
  private readonly seg: number;
  private below = 0;
  private above = 0;
  private touches = false;

  constructor({ seg }: DmaLimits) {
    this.seg = seg;
  }

  add(page: number, offset: number, bytes: number): void {
    const phys = page + offset;
    if (phys === this.seg + 1 && this.below + this.above > 0) this.touches = true;
    if (phys + bytes > this.seg) this.above++;
    else this.below++;
  }

  get straddles(): boolean {
    return (this.above > 0 && this.below > 0) || this.touches;
  }
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
    if (bounces) run.slot = this.used++;
    if (open.runs.length >= limits.sgllen) return this.cut(run, false);
    this.fill(run);
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
    if (recycle) {
      this.used = 0;
      if (tail !== null) this.place(tail);
      this.place(run);
    }
    if (tail !== null) this.push(tail);
    this.fill(run);
    return true;
  }

  /** Gives a run that bounces the next slot. */
  private place(run: Run): void {
    if (run.slot !== DIRECT) run.slot = this.used++;
  }

  /** Takes `bytes` from the end of the window's last cookie. */
  private takeTail(bytes: number): Run {
    const { open } = this;
    const last = open.runs.pop();
    // A window of several cookies ends with one of a page at least, and the remainder is less than that.
    if (last === undefined || last.bytes < bytes) throw new RangeError(`no ${bytes} bytes to carry over`);
    const kept = last.bytes - bytes;
    if (kept > 0) open.runs.push(new Run(last.phys, kept, last.slot));
    open.bytes -= bytes;
    return new Run(last.phys + kept, bytes, last.slot);
  }

  /** WIN-05, WIN-06: adds what there is room for; the rest of the cookie begins the next window. */
  private fill(run: Run): void {
    const room = this.limits.window - this.open.bytes;
    if (run.bytes <= room) {
      this.push(run);
      return;
    }
    if (room > 0) this.push(new Run(run.phys, room, run.slot));
    this.close();
    this.push(new Run(run.phys + room, run.bytes - room, run.slot));
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

/** The windows of an object; null when no windows can be made (WIN-03). The runs become the windows'. */
export function buildWindows(
  runs: readonly Run[],
  limits: DmaLimits,
  slots: number,
): readonly WindowPlan[] | null {
  const builder = new WindowBuilder(limits, slots);
  for (const run of runs) if (!builder.add(run)) return null;
  return builder.finish();
}
