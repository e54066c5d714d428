// Hardware for tests whose subject is not hardware: a clock, interrupt wires, and things that happen at given times.

import type { AdvanceResult, Platform } from '../../src/kernel/index.ts';

interface Event {
  readonly time: number;
  readonly happen: () => void;
}

export class FakePlatform implements Platform {
  irqLines = 0;
  /** Host I/O that holds up the clock at the next event. */
  hostIo: Promise<void> | null = null;
  private time = 0;
  private events: Event[] = [];
  private readonly messages: number[] = [];

  now(): number {
    return this.time;
  }

  nextDeadline(): number {
    return this.events[0]?.time ?? Number.POSITIVE_INFINITY;
  }

  advance(untilNs: number): AdvanceResult {
    for (let event = this.events[0]; event !== undefined && event.time <= untilNs; event = this.events[0]) {
      this.time = Math.max(this.time, event.time);
      if (this.hostIo !== null) return 'media';
      const before = this.irqLines;
      this.events.shift();
      event.happen();
      if (this.irqLines !== before || this.messages.length > 0) return 'irq';
    }
    this.time = Math.max(this.time, untilNs);
    return 'time';
  }

  async waitMedia(): Promise<void> {
    await this.hostIo;
    this.hostIo = null;
  }

  takeMsi(): number {
    return this.messages.shift() ?? -1;
  }

  /** Something that the hardware does at a time. */
  at(time: number, happen: () => void): void {
    this.events.push({ time, happen });
    this.events.sort((a, b) => a.time - b.time);
  }

  raise(line: number): void {
    this.irqLines |= 1 << line;
  }

  drop(line: number): void {
    this.irqLines &= ~(1 << line);
  }

  sendMsi(vector: number): void {
    this.messages.push(vector);
  }
}
