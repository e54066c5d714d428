// Interrupt lines that several devices share. v86 keeps one level for each: the first device that lowers it would
// lower it for all. So everybody who asserts a line is counted, v86's own PCI devices included.

import { currentView, type V86Cpu, viewAt } from './cpu.ts';

const INTERRUPT_FLAG = 0x200;
/** Where the ISA bridge says which interrupt each of the four PCI lines is routed to. */
const ROUTES_AT = 0x60;
const PIN_AT = 0x3d;

/** v86's interrupt controllers, as its own saved states know them: inputs that are enabled, inputs that ask. */
const PIC_BYTES = 13;
const PIC_ENABLED = 0;
const PIC_REQUESTS = 3;
const LINES = 8;
/** The master's input that the slave is at. */
const CASCADE = 2;

export class Interrupts {
  readonly #cpu: V86Cpu;
  readonly #flags: () => Int32Array;
  readonly #master: () => Uint8Array;
  readonly #slave: () => Uint8Array;
  /** Who asserts which interrupt now. */
  readonly #asserted = new Map<number, number>();
  /** Non-zero while the CPU is within an instruction that cannot be interrupted in its middle. */
  #held = 0;

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    this.#flags = currentView(cpu, cpu.flags, Int32Array);
    this.#master = controllerAt(cpu, cpu.get_pic_addr_master());
    this.#slave = controllerAt(cpu, cpu.get_pic_addr_slave());
    const { pci } = cpu.devices;
    pci.raise_irq = (id) => this.set(id, routed(cpu, id), true);
    pci.lower_irq = (id) => this.set(id, routed(cpu, id), false);
  }

  /**
   * Asserts or releases an interrupt on behalf of `who`. One that a device already asserts is let go first if it is
   * another one now: the guest may route lines anew.
   */
  set(who: number, irq: number, asserted: boolean): void {
    const before = this.#asserted.get(who);
    if (before !== undefined && (!asserted || before !== irq)) {
      this.#asserted.delete(who);
      if (!this.#isAsserted(before)) this.#drive(before, false);
    }
    if (asserted && before !== irq) {
      const already = this.#isAsserted(irq);
      this.#asserted.set(who, irq);
      if (!already) this.#drive(irq, true);
    }
  }

  /**
   * Runs `work` in the middle of an instruction that accesses memory. v86 enters the guest's handler from within the
   * call that raises an interrupt; then the instruction would be executed half. With the flag clear the controller
   * keeps the interrupt, and the CPU takes it at its next look: an STI, POPF or IRET, or the end of its slice.
   */
  hold(work: () => void): void {
    this.#held++;
    try {
      work();
    } finally {
      this.#held--;
    }
  }

  /** Who asserts what, for a saved state. */
  save(): (readonly [who: number, irq: number])[] {
    return [...this.#asserted];
  }

  /** The interrupt controllers have been restored by v86 itself. */
  restore(saved: Iterable<readonly [who: number, irq: number]>): void {
    this.#asserted.clear();
    for (const [who, irq] of saved) this.#asserted.set(who, irq);
  }

  #isAsserted(irq: number): boolean {
    for (const other of this.#asserted.values()) if (other === irq) return true;
    return false;
  }

  #drive(irq: number, level: boolean): void {
    const flags = this.#flags();
    const before = flags[0] as number;
    if (this.#held > 0) flags[0] = before & ~INTERRUPT_FLAG;
    if (level) this.#cpu.device_raise_irq(irq);
    else this.#cpu.device_lower_irq(irq);
    if (this.#held > 0) flags[0] = before;
    if (!level) this.#forget(irq);
  }

  /**
   * A request that is gone before the CPU took it is none: an input has to stay up until then (8259A, edge triggered
   * mode). v86 keeps it, and the guest's handler would find nothing to do, which some drivers warn of.
   */
  #forget(irq: number): void {
    const master = this.#master();
    if (irq < LINES) {
      clearRequest(master, irq);
      return;
    }
    const slave = this.#slave();
    clearRequest(slave, irq - LINES);
    if (((slave[PIC_REQUESTS] ?? 0) & (slave[PIC_ENABLED] ?? 0)) === 0) clearRequest(master, CASCADE);
  }
}

/** The interrupt that a PCI function's pin is routed to: pins of neighbouring slots are swizzled (PCI 3.0, 2.2.6). */
export function routed({ devices: { pci } }: V86Cpu, id: number): number {
  const space = pci.device_spaces[id];
  if (space === undefined) return 0;
  const pin = ((space[PIN_AT >> 2] as number) >> 8) & 0xff;
  return pci.isa_bridge_space8[ROUTES_AT + ((pin - 1 + (id >> 3) - 1) & 3)] as number;
}

/** The state of one of v86's interrupt controllers, as it is when the function is called. */
function controllerAt(cpu: V86Cpu, at: number): () => Uint8Array {
  return viewAt(cpu, at, PIC_BYTES, Uint8Array);
}

function clearRequest(controller: Uint8Array, line: number): void {
  controller[PIC_REQUESTS] = (controller[PIC_REQUESTS] ?? 0) & ~(1 << line);
}
