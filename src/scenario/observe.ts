// Collects what a part of a scenario did, from the events of every layer.

import type { Controller, Machine } from '../machine/index.ts';
import type { AnyEvent } from '../trace/index.ts';
import type { PageUse, ReportedSegment } from './report.ts';

const PAGE = 4096;

/** Sums and firsts over the events between start() and stop(). */
export class Observer {
  pinned = 0;
  bounced = 0;
  copied = 0;
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

  constructor(machine: Machine, controller: Controller) {
    this.#machine = machine;
    this.#began = totals(machine);
    this.#limit = 2 ** controller.profile.addressBits;
    this.#stop = machine.tracer.listen(
      (event) => this.#see(event),
      ['pin', 'copy', 'page_use', 'dma_map', 'block_rq_issue', 'block_rq_complete'],
    );
  }

  stop(): void {
    this.#stop();
    const now = totals(this.#machine);
    this.commands = now.commands - this.#began.commands;
    this.interrupts = now.interrupts - this.#began.interrupts;
  }

  #see(event: AnyEvent): void {
    switch (event.name) {
      case 'pin':
        this.pinned += event.fields.pages;
        break;
      case 'copy':
        this.copiedBytes += event.fields.bytes;
        break;
      case 'page_use':
        this.#page(event.fields.page, event.fields.device_page, event.fields.kind as PageUse['kind']);
        break;
      case 'dma_map':
        this.#segment(event.fields);
        break;
      case 'block_rq_issue':
        this.requests++;
        break;
      case 'block_rq_complete':
        if (this.firstList.length > 0) this.#listDone = true;
        break;
    }
  }

  #segment({ bus, memory, bytes }: { bus: number; memory: number; bytes: number }): void {
    this.segments++;
    if (bus !== memory) {
      const pages = Math.ceil(((memory % PAGE) + bytes) / PAGE);
      this.bounced += pages;
      for (let i = 0; i < pages; i++) this.#standIn(bus + i * PAGE);
    }
    if (this.#listDone) return;
    this.firstList.push({ bus, bytes, reachable: bus + bytes <= this.#limit });
    const i = this.firstPages.findIndex(({ user }) => user === memory - (memory % PAGE));
    const page = this.firstPages[i];
    if (bus !== memory && page !== undefined) {
      this.firstPages[i] = { ...page, device: bus - (bus % PAGE), kind: 'bounced' };
    }
  }

  #standIn(address: number): void {
    this.standIns.add(address - (address % PAGE));
  }

  #page(user: number, device: number, kind: PageUse['kind']): void {
    if (kind !== 'direct') this.#standIn(device);
    if (kind === 'bounced') this.bounced++;
    if (kind === 'copied') this.copied++;
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
