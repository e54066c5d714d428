// Collects what a part of a scenario did, from the events of every layer.

import type { Controller, Machine } from '../machine/index.ts';
import type { AnyEvent } from '../trace/index.ts';
import type { PageUse, ReportedSegment } from './report.ts';

const PAGE = 4096;

/** Sums and firsts over the events between start() and stop(). */
export class Observer {
  pinned = 0;
  bounced = 0;
  /** Times that the CPU copied, and how many bytes. */
  copies = 0;
  copiedBytes = 0;
  segments = 0;
  requests = 0;
  commands = 0;
  interrupts = 0;
  /** The scatter list of the first command that moved data. */
  readonly firstList: ReportedSegment[] = [];
  /** User pages of the first request, and what stands in for them. */
  readonly firstPages: PageUse[] = [];
  /** Pages that stood in for others at any time, by physical address. */
  readonly standIns = new Set<number>();
  readonly #stop: () => void;
  readonly #machine: Machine;
  readonly #limit: number;
  readonly #began: { commands: number; interrupts: number };
  #listDone = false;
  /** Pages that requests have as they are, and those of them that are given a slot of the swiotlb on the way. */
  #mapped = 0;
  #slots = 0;

  constructor(machine: Machine, controller: Controller) {
    this.#machine = machine;
    this.#began = totals(machine);
    this.#limit = 2 ** controller.profile.addressBits;
    this.#stop = machine.tracer.listen(
      (event) => this.#see(event),
      [
        'pin',
        'copy',
        'page_use',
        'dma_map',
        'dma_cookie',
        'block_rq_issue',
        'block_rq_complete',
        'buf_start',
        'buf_done',
      ],
    );
  }

  /** User pages that the device itself reads or writes. */
  get direct(): number {
    return Math.max(0, Math.min(this.pinned, this.#mapped) - this.#slots);
  }

  stop(): void {
    this.#stop();
    const now = totals(this.#machine);
    this.commands = now.commands - this.#began.commands;
    this.interrupts = now.interrupts - this.#began.interrupts;
  }

  #see(event: AnyEvent): void {
    if (event.name === 'pin') this.pinned += event.fields.pages;
    else if (event.name === 'copy') {
      this.copies++;
      this.copiedBytes += event.fields.bytes;
    } else if (event.name === 'dma_map') this.#map(event.fields);
    else if (event.name === 'dma_cookie') this.#segment(event.fields);
    else if (event.name === 'block_rq_issue' || event.name === 'buf_start') this.requests++;
    else if (event.name === 'block_rq_complete' || event.name === 'buf_done')
      this.#listDone ||= this.firstList.length > 0;
    else if (event.name === 'page_use') {
      const { page, device_page, kind } = event.fields;
      this.#page(page, device_page, kind as PageUse['kind']);
    }
  }

  /** Linux: what is not the memory itself is a slot of the swiotlb. */
  #map({ bus, memory, bytes }: { bus: number; memory: number; bytes: number }): void {
    if (bus !== memory) {
      const pages = Math.ceil(((memory % PAGE) + bytes) / PAGE);
      this.bounced += pages;
      this.#slots += pages;
      for (let i = 0; i < pages; i++) this.#standIn(bus + i * PAGE);
      if (!this.#listDone) this.#bounce(memory - (memory % PAGE), bus - (bus % PAGE));
    }
    this.#segment({ bus, bytes });
  }

  #segment({ bus, bytes }: { bus: number; bytes: number }): void {
    this.segments++;
    if (!this.#listDone) this.firstList.push({ bus, bytes, reachable: bus + bytes <= this.#limit });
  }

  #bounce(user: number, device: number): void {
    const i = this.firstPages.findIndex((page) => page.user === user);
    const page = this.firstPages[i];
    if (page !== undefined) this.firstPages[i] = { ...page, device, kind: 'bounced' };
  }

  #standIn(address: number): void {
    this.standIns.add(address - (address % PAGE));
  }

  #page(user: number, device: number, kind: PageUse['kind']): void {
    if (kind !== 'direct') this.#standIn(device);
    if (kind === 'bounced') this.bounced++;
    if (kind === 'direct') this.#mapped++;
    if (!this.#listDone) this.firstPages.push({ user, device, kind });
  }
}

function totals(machine: Machine): { commands: number; interrupts: number } {
  let commands = 0;
  let interrupts = 0;
  for (const controller of machine.controllers) {
    commands += controller.counters.commands;
    interrupts += controller.counters.interrupts;
  }
  return { commands, interrupts };
}
