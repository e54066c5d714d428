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
    if (event.name === 'pin') this.pinned += event.fields.pages;
    else if (event.name === 'copy') this.copiedBytes += event.fields.bytes;
    else if (event.name === 'dma_map') this.#segment(event.fields);
    else if (event.name === 'block_rq_issue') this.requests++;
    else if (event.name === 'block_rq_complete') this.#listDone ||= this.firstList.length > 0;
    else if (event.name === 'page_use') {
      const { page, device_page, kind } = event.fields;
      this.#page(page, device_page, kind as PageUse['kind']);
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
