// Collects what a part of a scenario did, from the events of every layer.

import type { Machine } from '../machine/index.ts';
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
  readonly #began: { commands: number; interrupts: number };
  #listDone = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#began = totals(machine);
    this.#stop = machine.tracer.listen(
      (event) => this.#see(event),
      [
        'pin',
        'bounce',
        'bounce_copy',
        'copy_user',
        'swiotlb_bounce',
        'segment',
        'block_rq_issue',
        'block_rq_complete',
      ],
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
        this.pinned++;
        if (!this.#listDone) this.#page(event.fields.page, event.fields.page, 'direct');
        break;
      case 'bounce':
        this.bounced++;
        this.#standIn(event.fields.bounce);
        if (!this.#listDone) this.#page(event.fields.page, event.fields.bounce, 'bounced');
        break;
      case 'swiotlb_bounce':
        this.bounced++;
        this.#standIn(event.fields.slot);
        break;
      case 'bounce_copy':
        this.copiedBytes += event.fields.bytes;
        break;
      case 'copy_user':
        this.copied++;
        this.copiedBytes += event.fields.bytes;
        this.#standIn(event.fields.page);
        break;
      case 'segment':
        this.segments++;
        if (!this.#listDone) {
          const { bus, bytes, reachable } = event.fields;
          this.firstList.push({ bus, bytes, reachable });
        }
        break;
      case 'block_rq_issue':
        this.requests++;
        break;
      case 'block_rq_complete':
        if (this.firstList.length > 0) this.#listDone = true;
        break;
    }
  }

  #standIn(address: number): void {
    this.standIns.add(address - (address % PAGE));
  }

  #page(user: number, device: number, kind: PageUse['kind']): void {
    const at = this.firstPages.findIndex((page) => page.user === user);
    if (at < 0) this.firstPages.push({ user, device, kind });
    else this.firstPages[at] = { user, device, kind };
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
