// What the guard knows of pinned pages: who pinned them and how, what devices did to them meanwhile. Fed by gup.ts, by
// those who drop pins (put_page(), bio-map.ts) and by dma-debug.ts; made only while the guard is on. It reports and never
// changes what a call does.

import { hex } from '../guard/guard.ts';
import type { Guard, Mapping, Rule } from '../guard/index.ts';
import {
  type AddressSpace,
  type Cpu,
  PAGE_SIZE,
  type Page,
  PG_locked,
  type UnmapReason,
} from '../kernel/index.ts';

/** The pins of one page. Reused. */
class Pins {
  page: Page;
  count = 0;
  /** How many of them were taken to write. */
  writable = 0;
  /** User address, process and its memory, as of the first. */
  at = 0;
  by = '';
  mm: AddressSpace | null = null;
  /** The mapping through which a device wrote, and whether somebody has marked the page dirty while it was pinned. */
  written: Mapping | null = null;
  dirtied = false;
  /** The process is gone. */
  orphan = false;

  constructor(page: Page) {
    this.page = page;
  }
}

/** What of the kernel it looks at. */
export interface PinDebugOptions {
  readonly guard: Guard;
  readonly cpu: Cpu;
  /** Whether a device may still have memory of processes. */
  readonly busy: () => boolean;
  /** The mapping that a device may write a page through, or null. */
  readonly writer: (page: Page) => Mapping | null;
  /** Memory lost its owner. */
  readonly freed: (address: number, bytes: number, what: string) => void;
}

export class PinDebug {
  readonly #options: PinDebugOptions;
  /** By frame. */
  readonly #pins: (Pins | undefined)[] = [];

  constructor(options: PinDebugOptions) {
    this.#options = options;
  }

  /** A reference of get_user_pages(). */
  pinned(page: Page, mm: AddressSpace, at: number, write: boolean): void {
    let pins = this.#pins[page.frame];
    if (pins === undefined) {
      pins = new Pins(page);
      this.#pins[page.frame] = pins;
    }
    if (pins.count++ === 0) {
      pins.at = at;
      pins.by = this.#options.cpu.current?.name ?? 'nobody';
      pins.mm = mm;
      pins.writable = 0;
      pins.written = null;
      pins.dirtied = pins.orphan = false;
    }
    if (write) pins.writable++;
  }

  /** A reference is dropped that may be a pin; before that. */
  unpinned(page: Page): void {
    const pins = this.#of(page);
    if (pins === null || --pins.count > 0) return;
    if (pins.written !== null && !pins.dirtied && !page.compound) {
      this.#report(
        'pin-undirtied',
        pins,
        'a device wrote the page, and it is unpinned without being dirty',
        pins.written,
      );
    }
    if (page.anon) this.#options.freed(page.phys, PAGE_SIZE, 'pages of a process are unpinned');
  }

  /** set_page_dirty(). */
  dirtied(page: Page): void {
    const pins = this.#of(page);
    if (pins !== null) pins.dirtied = true;
  }

  /** The mapping ended, and the device has written through it. */
  deviceWrote(page: Page, mapping: Mapping): void {
    const pins = this.#of(page);
    if (pins !== null) pins.written = mapping;
  }

  /** Whether a device must not write the page. A page cache that has it read holds its lock. */
  isReadOnly(page: Page): boolean {
    const pins = this.#of(page);
    return pins !== null && pins.writable === 0 && (page.flags & PG_locked) === 0;
  }

  /** A page that isReadOnly() is mapped for a device to write. */
  mappedToWrite(page: Page, mapping: Mapping): void {
    const pins = this.#of(page);
    if (pins !== null)
      this.#report('pin-readonly', pins, 'pinned for reading, and mapped for a device to write', mapping);
  }

  /** A process loses a page. */
  lost(page: Page, why: UnmapReason, mm: AddressSpace): void {
    const pins = this.#of(page);
    if (pins === null) return;
    const exits = mm.users === 0;
    if (exits && pins.mm === mm) {
      pins.orphan = true;
      if (!this.#options.busy()) this.#leak(pins);
    } else if (page.anon && (why === 'fork' || why === 'unmap')) {
      const mapping = this.#options.writer(page);
      const what = why === 'fork' ? 'the process forks' : 'the process unmaps the page';
      if (mapping !== null) this.#report('user-unmapped', pins, `${what} while a device writes it`, mapping);
    }
  }

  /** The last device is gone: pins of processes that are gone as well are nobody's. */
  idle(): void {
    for (const pins of this.#pins) if (pins !== undefined && pins.count > 0 && pins.orphan) this.#leak(pins);
  }

  #leak(pins: Pins): void {
    this.#report('pin-leak', pins, 'the process is gone and its page is still pinned', null);
  }

  #of(page: Page): Pins | null {
    const pins = this.#pins[page.frame];
    return pins === undefined || pins.count === 0 ? null : pins;
  }

  #report(rule: Rule, pins: Pins, what: string, mapping: Mapping | null): void {
    const { page, at, by, writable } = pins;
    const device = mapping === null ? '' : `${mapping.device}: `;
    this.#options.guard.report({
      rule,
      message: `${device}${what} (page ${hex(page.phys)}, pinned by ${by} at ${hex(at)})`,
      device: mapping?.device ?? null,
      address: page.phys,
      length: PAGE_SIZE,
      direction: writable > 0 ? 'write' : 'read',
      mapping,
    });
  }
}
