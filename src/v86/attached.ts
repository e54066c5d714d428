// One controller in a v86 machine: its registers where BIOS and guest put them, its interrupts, its time.

import type { EmbeddedController } from '../embed/index.ts';
import type { AccessSize } from '../machine/index.ts';
import { pointersPastMessages } from './capabilities.ts';
import type { Guest, Host } from './host.ts';
import { routed } from './interrupts.ts';
import type { Window } from './memory-map.ts';
import { claimPorts } from './ports.ts';

const NS_PER_MS = 1e6;
/**
 * What is due within this time of a register write is done there and then. The guest's clock is the host's, in which
 * the write alone takes a good part of it; and a CPU that need not go to sleep for a command saves far more.
 */
const AT_ONCE_NS = 1e6;
const CONFIG_BYTES = 256;

export class Attached implements Guest {
  readonly key: string;
  readonly pciId: number;
  readonly #host: Host;
  readonly #controller: EmbeddedController;
  /** Interrupts of an ISA board and of legacy IDE, by line; PCI functions are routed. */
  readonly #irqs: readonly number[];
  readonly #pointers: ReadonlyMap<number, number>;
  /** Where each BAR decodes now, and how to take it away from there. */
  readonly #mapped = new Map<number, { readonly base: number; readonly unmap: () => void }>();
  /** Virtual time 0 in v86's ms; null until v86's clock was seen. */
  #zero: number | null = null;

  constructor(host: Host, controller: EmbeddedController, place: { slot: number; irqs: readonly number[] }) {
    this.#host = host;
    this.#controller = controller;
    this.#irqs = place.irqs;
    this.#pointers = place.slot < 0 ? new Map() : pointersPastMessages(controller);
    this.pciId = place.slot < 0 ? -1 : place.slot << 3;
    this.key = place.slot < 0 ? controller.kind : `${controller.kind} in slot ${place.slot}`;
    if (this.pciId >= 0) this.#registerFunction();
    for (const { bar, first, count } of controller.ports) {
      claimPorts(host.cpu, first, count, this.#portHandler(bar));
    }
    host.add(this);
  }

  // Configuration space.

  configRead(at: number): number {
    let value = this.#controller.configRead(at, 4);
    for (const [pointer, target] of this.#pointers) {
      const shift = 8 * (pointer - at);
      if (shift >= 0 && shift < 32) value = (value & ~(0xff << shift)) | (target << shift);
    }
    return value | 0;
  }

  configWrite(at: number, size: AccessSize, value: number): void {
    this.#controller.configWrite(at, size, value);
    this.#configChanged();
  }

  #registerFunction(): void {
    const pci_space = Array.from(
      { length: CONFIG_BYTES },
      (_, at) => (this.configRead(at & ~3) >>> (8 * (at & 3))) & 0xff,
    );
    const name = `backplane ${this.#controller.profile.name}`;
    this.#host.cpu.devices.pci.register_device({ name, pci_id: this.pciId, pci_space, pci_bars: [] });
  }

  /** v86 looks up the interrupt pin in its copy, and saves it. */
  #configChanged(): void {
    const space = this.#host.cpu.devices.pci.device_spaces[this.pciId];
    if (space !== undefined) for (let i = 0; i < CONFIG_BYTES / 4; i++) space[i] = this.configRead(4 * i);
    this.#placeBars();
    this.#controller.poll();
  }

  #placeBars(): void {
    for (const { index, kind, bytes } of this.#controller.bars) {
      const base = this.#controller.barAddress(index);
      const mapped = this.#mapped.get(index);
      if ((mapped?.base ?? null) === base) continue;
      mapped?.unmap();
      this.#mapped.delete(index);
      if (base === null) continue;
      const unmap = kind === 'io' ? this.#mapPorts(index, base, bytes) : this.#mapMemory(index, base, bytes);
      this.#mapped.set(index, { base, unmap });
    }
  }

  #mapPorts(bar: number, base: number, bytes: number): () => void {
    return claimPorts(this.#host.cpu, base, bytes, this.#portHandler(bar));
  }

  #mapMemory(bar: number, base: number, bytes: number): () => void {
    const { memoryMap, ram } = this.#host;
    if (base < ram().length || base + bytes > 2 ** 32) return () => {};
    const window: Window = { base, bytes, ...this.#memoryHandler(bar) };
    memoryMap.add(window);
    return () => memoryMap.remove(window);
  }

  // Registers.

  #portHandler(bar: number) {
    const controller = this.#controller;
    return {
      read: (at: number, size: AccessSize): number => {
        const value = controller.read(bar, at, size);
        controller.poll();
        return value;
      },
      write: (at: number, size: AccessSize, value: number): void => {
        controller.write(bar, at, size, value);
        controller.poll();
        this.#doAtOnce();
      },
    };
  }

  #memoryHandler(bar: number): Pick<Window, 'read' | 'write'> {
    const controller = this.#controller;
    const { interrupts } = this.#host;
    const poll = (): void => void controller.poll();
    const finish = (): void => {
      controller.poll();
      this.#doAtOnce();
    };
    return {
      read: (at, size) => {
        const value = controller.read(bar, at, size);
        interrupts.hold(poll);
        return value;
      },
      write: (at, size, value) => {
        controller.write(bar, at, size, value);
        interrupts.hold(finish);
      },
    };
  }

  #doAtOnce(): void {
    const controller = this.#controller;
    this.#runTo(controller.now() + AT_ONCE_NS);
  }

  /** Does what is due up to `end`, and leaves the clock at the last of it. */
  #runTo(end: number): void {
    const controller = this.#controller;
    while (controller.nextDeadline() <= end) {
      const before = controller.nextDeadline();
      controller.advance(Math.max(0, before - controller.now()));
      if (controller.nextDeadline() === before) return; // a medium has to wait for the host
    }
  }

  // Time and interrupts.

  tick(now: number): number {
    const controller = this.#controller;
    this.#zero ??= now - controller.now() / NS_PER_MS;
    const end = (now - this.#zero) * NS_PER_MS;
    this.#runTo(Math.max(end, controller.now()) + AT_ONCE_NS);
    if (end > controller.now()) controller.advance(end - controller.now());
    return Math.max(0, (controller.nextDeadline() - controller.now()) / NS_PER_MS);
  }

  /** A medium has answered: the CPU may be asleep. */
  wake(): void {
    this.#runTo(this.#controller.now() + AT_ONCE_NS);
    this.#host.cpu.stop_idling();
  }

  /** The controller's line went up or down. */
  irq(level: boolean, line: number): void {
    const { cpu, interrupts } = this.#host;
    const irq = this.#irqs[line] ?? routed(cpu, this.pciId);
    // Numbers of PCI functions are below 65536; lines of boards get some above them.
    const who = this.#irqs.length > 0 ? 0x10000 + irq : this.pciId;
    interrupts.set(who, irq, level);
  }

  // The machine's life.

  reset(): void {
    this.#controller.reset('power-on');
    if (this.pciId >= 0) this.#configChanged();
    else this.#controller.poll();
  }

  save(): Uint8Array {
    return this.#controller.save();
  }

  restore(bytes: Uint8Array): void {
    this.#controller.restore(bytes);
  }

  restored(): void {
    this.#zero = null;
    if (this.pciId >= 0) this.#placeBars();
  }
}
