// The page allocator: zones by what devices reach, pages by placement, failures on request.

import { KernelBug } from './errors.ts';
import { FailurePlan } from './failure-plan.ts';
import { FrameBitmap } from './frame-bitmap.ts';
import {
  PAGE_SIZE,
  type Page,
  type PageFrames,
  PG_busy,
  PG_head,
  PG_reserved,
  PG_tail,
  pageName,
  type ZoneName,
} from './page.ts';
import type { PhysMemory } from './platform.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import { type Sleeps, WaitQueue } from './task.ts';
import type { Warnings } from './warnings.ts';

/** Byte that fills freed pages, on wish (Linux: POISON_FREE is 0x6b). */
export const POISON_FREE = 0x6b;
/** Largest order: 2^10 pages (Linux: MAX_ORDER - 1). */
export const MAX_ORDER = 10;

/** Which of the free pages is taken: the lowest (neighbours follow each other), or any, by seed. */
export type Placement = 'contiguous' | 'scatter';

export interface AllocOptions {
  /** 2^order pages, contiguous and aligned to their size. Default 0. */
  readonly order?: number;
  /** Highest zone; lower ones are used when it is full, as in Linux. Default NORMAL: anywhere. */
  readonly zone?: ZoneName;
  /** Physical address that no byte may reach. Default: none. */
  readonly below?: number;
  /** Lowest physical address. Default 0. */
  readonly from?: number;
  /** Fill with zeros. Default: the contents are undefined. */
  readonly zero?: boolean;
  /** Which free page to take; default: the allocator's. */
  readonly placement?: Placement;
  /** What for, in leak reports: 'user', 'bounce'. */
  readonly tag?: string;
}

/** Told of pages that come and go; for the guard and tracers. */
export interface FrameWatch {
  allocated(page: Page, order: number): void;
  freed(page: Page, order: number): void;
}

export interface Zone {
  readonly name: ZoneName;
  /** Frames first..end-1. */
  readonly first: number;
  readonly end: number;
  /** Pages that the allocator may hand out, and those that it can hand out now. */
  readonly managed: number;
  readonly free: number;
}

export interface AllocatorOptions {
  readonly frames: PageFrames;
  readonly memory: PhysMemory;
  readonly scheduler: Scheduler;
  readonly warnings: Warnings;
  readonly random: Random;
  /** Default contiguous. */
  readonly placement?: Placement;
  /** Bytes from address 0 that are never handed out; at least a page. Default one page. */
  readonly lowReserve?: number;
  /** Pages of the zone DMA kept for those who ask for that zone (Linux: lowmem_reserve). Default 0. */
  readonly dmaReserve?: number;
  /** Fill freed pages with 0x6b and check the fill when they are handed out again. Default off. */
  readonly poison?: boolean;
}

type MutableZone = { -readonly [key in keyof Zone]: Zone[key] };

const ANY_PAGE: AllocOptions = {};
const ZONE_NAMES: readonly ZoneName[] = ['DMA', 'DMA32', 'NORMAL'];

export class PageAllocator {
  /** Ascending: DMA, DMA32, NORMAL. */
  readonly zones: readonly Zone[];
  /** Decides which allocations fail. */
  readonly failures: FailurePlan;
  /** The plan is for allocations with this tag only; null: for all. */
  failuresOnly: string | null = null;
  placement: Placement;
  watch: FrameWatch | null = null;
  /** Tasks that wait for pages. */
  readonly waiters = new WaitQueue('free pages');
  /**
   * Asked, in order, to give pages back when there are none; each returns how many it freed. They must not sleep, and
   * may not allocate.
   */
  readonly shrinkers: (() => number)[] = [];

  private readonly frames: PageFrames;
  private readonly memory: PhysMemory;
  private readonly scheduler: Scheduler;
  private readonly warnings: Warnings;
  private readonly random: Random;
  private readonly free: FrameBitmap;
  private readonly mutableZones: MutableZone[];
  private readonly dmaReserve: number;
  private readonly poison: Uint8Array | null;
  private serial = 0;

  constructor(options: AllocatorOptions) {
    this.frames = options.frames;
    this.memory = options.memory;
    this.scheduler = options.scheduler;
    this.warnings = options.warnings;
    this.random = options.random;
    this.failures = new FailurePlan(options.random.fork('page failures'));
    this.placement = options.placement ?? 'contiguous';
    this.dmaReserve = options.dmaReserve ?? 0;
    this.poison = options.poison === true ? new Uint8Array(PAGE_SIZE).fill(POISON_FREE) : null;
    this.free = new FrameBitmap(options.frames.pages.length);
    this.mutableZones = ZONE_NAMES.map((zone) => ({ name: zone, first: 0, end: 0, managed: 0, free: 0 }));
    this.zones = this.mutableZones;
    this.introduce(Math.max(PAGE_SIZE, options.lowReserve ?? 0));
  }

  /** Pages that can be handed out now. */
  get freePages(): number {
    return this.mutableZones.reduce((sum, zone) => sum + zone.free, 0);
  }

  zone(zone: ZoneName): Zone {
    return this.mutableZones[ZONE_NAMES.indexOf(zone)] as Zone; // there is one for every name
  }

  // ---- taking and giving

  /**
   * Takes 2^order pages with one reference, as a compound if they are several; null when there are none, or when the
   * failure plan says so. Never sleeps.
   * @throws KernelBug `page-order` for an order outside 0..10
   */
  alloc(options: AllocOptions = ANY_PAGE): Page | null {
    const order = options.order ?? 0;
    if (!(Number.isInteger(order) && order >= 0 && order <= MAX_ORDER))
      throw new KernelBug('page-order', `no order ${order}`);
    if (this.failuresOnly === null || this.failuresOnly === options.tag) {
      if (this.failures.shouldFail()) return null;
    }
    let frame = this.find(options, order);
    if (frame < 0 && this.shrink(1 << order)) frame = this.find(options, order);
    return frame < 0 ? null : this.take(frame, order, options);
  }

  /** Takes single pages, each as by `alloc`; null, and none is taken, when there are not so many. */
  allocMany(count: number, options: AllocOptions = ANY_PAGE): Page[] | null {
    const pages: Page[] = [];
    const scatter = (options.placement ?? this.placement) === 'scatter';
    if (!this.failures.active && !scatter && (options.order ?? 0) === 0)
      this.takeLowest(count, options, pages);
    while (pages.length < count) {
      const page = this.alloc(options);
      if (page === null) {
        for (const taken of pages) this.put(taken);
        return null;
      }
      pages.push(page);
    }
    return pages;
  }

  /** As `alloc`, but waits for pages to be freed. A failure that the plan asks for is tried again every second. */
  *allocWait(options: AllocOptions, what: string): Sleeps<Page> {
    this.scheduler.mightSleep('allocWait');
    for (;;) {
      const page = this.alloc(options);
      if (page !== null) return page;
      yield* this.scheduler.sleep(this.waiters, { what, timeoutNs: 1e9, poll: true });
    }
  }

  /**
   * One reference more (Linux: get_page).
   * @throws KernelBug `PG-01` when the page is free
   */
  get(page: Page): void {
    const head = page.head ?? page;
    if (head._count <= 0)
      throw new KernelBug('PG-01', `a reference to a free page (count ${head._count})`, pageName(page));
    head._count++;
  }

  /**
   * One reference less; the last one frees the page (Linux: put_page).
   * @throws KernelBug `PG-01` when the page is free, `page-free` when it is still in use in some way
   */
  put(page: Page): void {
    const head = page.head ?? page;
    if (head._count <= 0)
      throw new KernelBug('PG-01', `a reference too many was dropped (count ${head._count})`, pageName(page));
    if (--head._count === 0) this.release(head);
  }

  /** Makes the pages of a compound independent, each with one reference (Linux: split_page). */
  split(head: Page): void {
    if (!head.has(PG_head) || head._count !== 1)
      throw new KernelBug('page-split', 'not a compound of one owner', pageName(head));
    const count = 1 << head.order;
    head.order = 0;
    for (let i = 0; i < count; i++) {
      const page = this.frames.pages[head.frame + i] as Page; // the compound was allocated whole
      page.clear(PG_head | PG_tail);
      page.head = null;
      page._count = 1;
    }
  }

  // ---- who has what

  /** A mark in the sequence of allocations, for `since`. */
  get mark(): number {
    return this.serial;
  }

  /** Pages allocated after the mark (default: ever) that are still in use; heads only. */
  since(mark = 0): Page[] {
    return this.frames.pages.filter(({ _count, serial }) => _count > 0 && serial > mark);
  }

  /** The same as numbers of pages by what they were allocated for. */
  usage(mark = 0): Map<string, number> {
    const usage = new Map<string, number>();
    for (const { tag, order } of this.since(mark)) usage.set(tag, (usage.get(tag) ?? 0) + (1 << order));
    return usage;
  }

  /** Takes a page for good: it is no longer counted as in use, nor freed. For the zero page and the like. */
  reserve(page: Page): void {
    page.set(PG_reserved);
    page.serial = 0;
  }

  /** Takes a broken page out of circulation, now if it is free, else when it is freed (with PG_hwpoison set). */
  withdraw(page: Page): void {
    if (!this.free.has(page.frame)) return;
    this.free.delete(page.frame);
    this.zoneOf(page).free--;
  }

  // ---- inside

  /** Counts the frames of each zone and makes all but the reserved ones free. */
  private introduce(reserved: number): void {
    for (const page of this.frames.pages) {
      const zone = this.zoneOf(page);
      if (zone.end === 0) zone.first = page.frame;
      zone.end = page.frame + 1;
      if (page.phys < reserved) {
        page.set(PG_reserved);
        continue;
      }
      zone.managed++;
      zone.free++;
      this.free.add(page.frame);
      if (this.poison !== null) this.memory.fill(page.phys, POISON_FREE, PAGE_SIZE);
    }
  }

  private zoneOf(page: Page): MutableZone {
    // By name, without a search: pages come and go by the thousand.
    const index = page.zone === 'NORMAL' ? 2 : page.zone === 'DMA32' ? 1 : 0;
    return this.mutableZones[index] as MutableZone;
  }

  /** First frame of what is asked for; -1 when there is none. Zones from the highest allowed one downwards. */
  private find(options: AllocOptions, order: number): number {
    const top = options.zone === undefined ? 2 : ZONE_NAMES.indexOf(options.zone);
    const from = options.from === undefined ? 0 : this.frames.frameFrom(options.from);
    const end = options.below === undefined ? this.frames.pages.length : this.frameEnd(options.below);
    const scatter = (options.placement ?? this.placement) === 'scatter';
    for (let z = top; z >= 0; z--) {
      const zone = this.mutableZones[z] as MutableZone;
      if (zone.free - this.keptOf(z, top, options) < 1 << order) continue;
      const frame = this.findIn(Math.max(zone.first, from), Math.min(zone.end, end), order, scatter);
      if (frame >= 0) return frame;
    }
    return -1;
  }

  /** Takes free pages in the order in which `alloc` finds them, as many as there are, with one search for all. */
  private takeLowest(count: number, options: AllocOptions, pages: Page[]): void {
    const top = options.zone === undefined ? 2 : ZONE_NAMES.indexOf(options.zone);
    const from = options.from === undefined ? 0 : this.frames.frameFrom(options.from);
    const below = options.below === undefined ? this.frames.pages.length : this.frameEnd(options.below);
    for (let z = top; z >= 0; z--) {
      const zone = this.mutableZones[z] as MutableZone;
      const end = Math.min(zone.end, below);
      const left = count - pages.length;
      let takes = Math.min(left, zone.free - this.keptOf(z, top, options));
      for (let at = Math.max(zone.first, from); takes > 0 && at < end; at++, takes--) {
        at = this.free.next(at, end);
        if (at < 0) break;
        pages.push(this.take(at, 0, options));
      }
    }
  }

  /** Pages of a zone that are kept from who asks for any from zone `top` on down. */
  private keptOf(z: number, top: number, { below }: AllocOptions): number {
    return z === 0 && top > 0 && below === undefined ? this.dmaReserve : 0;
  }

  /** First frame that lies, in part at least, at or above the address. */
  private frameEnd(below: number): number {
    return this.frames.frameFrom(Math.floor(below / PAGE_SIZE) * PAGE_SIZE);
  }

  private findIn(first: number, end: number, order: number, scatter: boolean): number {
    if (first >= end) return -1;
    if (!scatter) return this.search(first, end, order);
    const start = first + this.random.below(end - first);
    const frame = this.search(start, end, order);
    return frame >= 0 ? frame : this.search(first, end, order);
  }

  private search(first: number, end: number, order: number): number {
    if (order === 0) return this.free.next(first, end);
    const count = 1 << order;
    for (let frame = this.free.next(first, end); frame >= 0; frame = this.free.next(frame, end)) {
      const aligned = this.align(frame, count);
      if (aligned === frame) {
        if (frame + count > end) return -1;
        if (frame + count <= this.frames.regionEnd(frame) && this.free.hasAll(frame, count)) return frame;
      }
      frame = aligned === frame ? frame + count : aligned;
      if (frame >= end) return -1;
    }
    return -1;
  }

  /** The next frame whose page number is a multiple of `count`, within the region; else the region's end. */
  private align(frame: number, count: number): number {
    const past = (this.frames.pages[frame] as Page).pfn % count; // frame is a free page
    return past === 0 ? frame : Math.min(frame + count - past, this.frames.regionEnd(frame));
  }

  private shrink(pages: number): boolean {
    let freed = 0;
    for (const shrinker of this.shrinkers) {
      freed += shrinker();
      if (freed >= pages) break;
    }
    return freed > 0;
  }

  private take(frame: number, order: number, options: AllocOptions): Page {
    const head = this.frames.pages[frame] as Page; // found in the bitmap
    const count = 1 << order;
    const serial = ++this.serial;
    for (let i = 0; i < count; i++) {
      const page = this.frames.pages[frame + i] as Page;
      this.free.delete(frame + i);
      this.checkPoison(page);
      page.flags = order === 0 ? 0 : i === 0 ? PG_head : PG_tail;
      page.head = i === 0 ? null : head;
    }
    head.order = order;
    head._count = 1;
    head.tag = options.tag ?? '';
    head.serial = serial;
    this.zoneOf(head).free -= count;
    if (options.zero === true) this.memory.fill(head.phys, 0, count * PAGE_SIZE);
    this.watch?.allocated(head, order);
    return head;
  }

  private checkPoison(page: Page): void {
    if (this.poison === null || this.memory.equals(page.phys, this.poison)) return;
    const at = this.memory.readBytes(page.phys, PAGE_SIZE).findIndex((byte) => byte !== POISON_FREE);
    const what = `written at offset ${at} after it was freed (it was last used for "${page.tag}")`;
    this.warnings.warn('page-use-after-free', what, pageName(page));
  }

  private release(head: Page): void {
    const count = 1 << head.order;
    const { order } = head;
    for (let i = 0; i < count; i++) this.reset(this.frames.pages[head.frame + i] as Page);
    if (head.has(PG_reserved))
      throw new KernelBug('page-free', 'the last reference to a reserved page was dropped', pageName(head));
    this.watch?.freed(head, order);
    for (let i = 0; i < count; i++) this.giveBack(this.frames.pages[head.frame + i] as Page);
    head.order = 0;
    if (!this.waiters.empty) this.scheduler.wakeAll(this.waiters);
  }

  /** Checks that nobody uses a page that is to be freed, and wipes what its owner left on it. */
  private reset(page: Page): void {
    const why =
      page._mapcount !== 0
        ? `mapped ${page._mapcount} times`
        : page.mapping !== null
          ? 'in a page cache'
          : (page.flags & PG_busy) !== 0
            ? `flags 0x${(page.flags & PG_busy).toString(16)}`
            : null;
    if (why !== null) throw new KernelBug('page-free', `freed in use: ${why}`, pageName(page));
    page.index = 0;
    page.anon = false;
    page.private = null;
    page.locker = null;
    page.head = null;
  }

  /** A poisoned page never comes back. */
  private giveBack(page: Page): void {
    const { poisoned } = page;
    if (poisoned) return;
    page.flags = 0;
    this.free.add(page.frame);
    this.zoneOf(page).free++;
    if (this.poison !== null) this.memory.fill(page.phys, POISON_FREE, PAGE_SIZE);
    this.memory.forget(page.phys, PAGE_SIZE);
  }
}
