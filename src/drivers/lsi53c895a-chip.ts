// The chip under the LSI driver: what it can do, its registers set up, its program assembled, placed and started.
//
// [1] LSI53C895A Technical Manual, S14028.B

import {
  PCI_BAR0,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../assembly/bus/pci-regs.ts';
import * as regs from '../../assembly/lsi53c895a/regs.ts';
import narrowSource from '../../firmware/lsi53c895a/lsi53c810.ss';
import fullSource from '../../firmware/lsi53c895a/lsi53c895a.ss';
import type { Controller } from '../machine/controller.ts';
import { MachineError } from '../machine/errors.ts';
import { assemble, link } from '../scripts/index.ts';
import type { DriverHost } from './driver.ts';
import { INT_HELLO } from './lsi53c895a-task.ts';

/** Programs and everything that they fetch lie below 4 GiB. */
export const ADDRESS_BITS = 32;
const PROGRAM_BYTES = 8192;
const LOCK_NS = 1e6;
const PROBE_NS = 1e6;
/** Every chip says hello; one without STORE stops before. */
const PROBE = 'EXTERNAL place\nPROC store:\nSTORE SCRATCHA, 4, place\nPROC hello:\nINT 7\n';
/** Code of STIME0 for a selection, and what a driver without one is served with. */
const SELECTION_TIME = 0x0c;
const OWN_ID = regs.LSI_HOST_ID;

export class LsiError extends MachineError {
  override name = 'LsiError';
}

/** What the chip has: found by trying, whatever it calls itself. */
export interface LsiFeatures {
  /** Sixteen bits of bus and as many targets. */
  readonly wide: boolean;
  readonly loadStore: boolean;
  /** Jumps at a phase mismatch. */
  readonly mismatchJumps: boolean;
  /** Forty address bits in table entries. */
  readonly longAddresses: boolean;
  /** Bus address of the RAM for SCRIPTS, 0: there is none. */
  readonly ram: number;
}

export class LsiChip {
  readonly features: LsiFeatures;
  /** Half periods and offset that the chip can do: factor of SDTR, words. */
  readonly syncFactor: number;
  readonly syncOffset: number;
  readonly #host: DriverHost;
  readonly #board: Controller;
  /** Where the program lies if the chip has no RAM. */
  readonly #memory: number;
  #labels: Readonly<Record<string, number>> = {};
  #base = 0;

  constructor(host: DriverHost) {
    this.#host = host;
    this.#board = host.controller;
    const command = this.#board.configRead(PCI_COMMAND, 2);
    this.#board.configWrite(PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    this.#memory = host.dma.alloc(PROGRAM_BYTES, 4096, ADDRESS_BITS);
    this.resetChip();
    try {
      this.features = this.#probe();
    } catch (error) {
      this.free();
      throw error;
    }
    this.syncFactor = this.features.wide ? 10 : 25;
    this.syncOffset = this.features.wide ? 31 : 8;
  }

  free(): void {
    this.#host.dma.free(this.#memory, PROGRAM_BYTES);
  }

  read8(at: number): number {
    return this.#board.read8(regs.LSI_BAR_MEMORY, at);
  }
  read32(at: number): number {
    return this.#board.read32(regs.LSI_BAR_MEMORY, at);
  }
  write8(at: number, value: number): void {
    this.#board.write8(regs.LSI_BAR_MEMORY, at, value);
  }
  write32(at: number, value: number): void {
    this.#board.write32(regs.LSI_BAR_MEMORY, at, value);
  }

  /** Bus address of a label of the program. */
  at(label: string): number {
    const offset = this.#labels[label];
    if (offset === undefined) throw new LsiError(`the program has no label ${label}`);
    return this.#base + offset;
  }

  /** Starts the program, or goes on, at a label. */
  run(label: string): void {
    this.write32(regs.LSI_DSP, this.at(label));
  }

  /** ISTAT0.SRST: all registers as after power-on, SCRIPTS stopped, the bus let go of. */
  resetChip(): void {
    this.write8(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
    this.write8(regs.LSI_ISTAT0, 0);
  }

  /** The RST line of the bus: every target forgets what it had. */
  resetBus(): void {
    this.write8(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    this.#host.waitUntil(() => false, RESET_HOLD_NS);
    this.write8(regs.LSI_SCNTL1, 0);
    this.#host.waitUntil(() => false, RESET_SETTLE_NS);
  }

  /** Assembles the program for this chip, links it to what the driver has, and puts it where it runs. */
  load(values: Readonly<Record<string, number>>): void {
    const { loadStore, ram } = this.features;
    const program = loadStore
      ? assemble(fullSource, { file: 'lsi53c895a.ss' })
      : assemble(narrowSource, { file: 'lsi53c810.ss' });
    this.#labels = program.labels;
    const all: Readonly<Record<string, number>> = { ...values, chip: this.#barAddress(regs.LSI_BAR_MEMORY) };
    const wanted = Object.keys(program.unresolved).map((name) => [name, all[name] ?? 0] as const);
    // A board may not let the chip reach its own RAM.
    for (const base of ram === 0 ? [this.#memory] : [ram, this.#memory]) {
      this.#base = base;
      this.#place(link(program, { base, values: Object.fromEntries(wanted) }));
      if (this.#stopsWith(this.at('hello')) === INT_HELLO) return;
      this.resetChip();
    }
    throw new LsiError('the chip does not run the program');
  }

  /** Sets up the registers after a reset, interrupts last. */
  setUp(): void {
    const { mismatchJumps, longAddresses, wide } = this.features;
    this.write8(regs.LSI_SCNTL0, regs.LSI_SCNTL0_ARB | regs.LSI_SCNTL0_EPC);
    this.write8(regs.LSI_SCNTL3, this.plainTiming);
    this.write8(regs.LSI_SCID, regs.LSI_SCID_RRE | OWN_ID);
    this.write8(regs.LSI_RESPID0, 1 << OWN_ID);
    if (wide) this.write8(regs.LSI_RESPID1, 0);
    this.write8(regs.LSI_DCNTL, regs.LSI_DCNTL_COM);
    this.write8(regs.LSI_STIME0, SELECTION_TIME);
    this.write8(regs.LSI_STEST3, regs.LSI_STEST3_TE);
    if (wide) this.#multiplyClock();
    if (mismatchJumps) {
      this.write32(regs.LSI_PMJAD1, this.at('mismatch_out'));
      this.write32(regs.LSI_PMJAD2, this.at('mismatch_in'));
      this.write8(regs.LSI_CCNTL0, regs.LSI_CCNTL0_ENPMJ | regs.LSI_CCNTL0_PMJCTL);
    }
    if (longAddresses) this.write8(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64TIBMV | regs.LSI_CCNTL1_TIMOD);
    this.write32(regs.LSI_SCRATCHB, 0);
    this.write8(regs.LSI_SIEN0, SCSI_ERRORS);
    this.write8(regs.LSI_SIEN1, regs.LSI_SIST1_STO);
    this.write8(regs.LSI_DIEN, DMA_ERRORS);
  }

  /** SCNTL3 of asynchronous transfers on eight bits: the clock divided to 20 MHz. */
  get plainTiming(): number {
    return this.features.wide ? 7 : 3;
  }

  /** [1] STEST1: SCLK is 40 MHz, and the quadrupler makes it 160; the chip is halted while it takes over. */
  #multiplyClock(): void {
    this.write8(regs.LSI_STEST1, regs.LSI_STEST1_QEN);
    const locked = (): boolean => (this.read8(regs.LSI_STEST4) & regs.LSI_STEST4_LOCK) !== 0;
    if (!this.#host.waitUntil(locked, LOCK_NS)) throw new LsiError('the clock of the chip does not lock');
    this.write8(regs.LSI_STEST3, regs.LSI_STEST3_TE | regs.LSI_STEST3_HSC);
    this.write8(regs.LSI_STEST1, regs.LSI_STEST1_QEN | regs.LSI_STEST1_QSEL);
    this.write8(regs.LSI_STEST3, regs.LSI_STEST3_TE);
  }

  #place(words: Uint32Array): void {
    if (4 * words.length > PROGRAM_BYTES) throw new LsiError('the program is larger than the chip takes');
    const { ram } = this.features;
    for (let i = 0; i < words.length; i++) {
      if (this.#base === ram) this.#board.write32(regs.LSI_BAR_RAM, 4 * i, words[i] as number);
      else this.#host.memory.write32(this.#memory + 4 * i, words[i] as number);
    }
  }

  #probe(): LsiFeatures {
    const bars = this.#board.bars();
    const hasRam = bars.some(({ index }) => index === regs.LSI_BAR_RAM);
    // Bits of registers that are not there do not stay.
    const keeps = (at: number, bits: number): boolean => {
      this.write8(at, bits);
      const kept = this.read8(at) === bits;
      this.write8(at, 0);
      return kept;
    };
    return {
      wide: keeps(regs.LSI_SCRATCHC, 0x5a),
      mismatchJumps: keeps(regs.LSI_CCNTL0, regs.LSI_CCNTL0_ENPMJ),
      longAddresses: keeps(regs.LSI_CCNTL1, regs.LSI_CCNTL1_EN64TIBMV),
      loadStore: this.#hasStore(),
      ram: hasRam ? this.#barAddress(regs.LSI_BAR_RAM) : 0,
    };
  }

  /** Runs a program of one STORE: a chip without it finds an illegal instruction. */
  #hasStore(): boolean {
    const memory = this.#memory;
    const probe = assemble(PROBE);
    const { hello = 0, store = 0 } = probe.entries;
    const linked = link(probe, { base: memory, values: { place: memory + 0x80 } });
    for (let i = 0; i < linked.length; i++) this.#host.memory.write32(memory + 4 * i, linked[i] as number);
    if (this.#stopsWith(memory + hello) !== INT_HELLO)
      throw new LsiError(`the chip does not run what lies at 0x${memory.toString(16)}`);
    return this.#stopsWith(memory + store) === INT_HELLO;
  }

  /** The number of the INT that a program at an address stops with, −1 if it does not. */
  #stopsWith(address: number): number {
    this.write32(regs.LSI_DSP, address);
    const stopped = (): boolean => (this.read8(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_DIP) !== 0;
    if (!this.#host.waitUntil(stopped, PROBE_NS)) return -1;
    const isInterrupt = (this.read8(regs.LSI_DSTAT) & regs.LSI_DSTAT_SIR) !== 0;
    return isInterrupt ? this.read32(regs.LSI_DSPS) : -1;
  }

  #barAddress(bar: number): number {
    return (this.#board.configRead(PCI_BAR0 + 4 * bar, 4) & ~0xf) >>> 0;
  }
}

/** SPI-2 table 34: how long RST is held, and how long targets need after it. */
const RESET_HOLD_NS = 25_000;
const RESET_SETTLE_NS = 250e6;

/** Interrupts of SIEN0 and of DIEN that the driver handles. */
const SCSI_ERRORS =
  regs.LSI_SIST0_MA | regs.LSI_SIST0_SGE | regs.LSI_SIST0_UDC | regs.LSI_SIST0_RST | regs.LSI_SIST0_PAR;
const DMA_ERRORS =
  regs.LSI_DSTAT_MDPE | regs.LSI_DSTAT_BF | regs.LSI_DSTAT_ABRT | regs.LSI_DSTAT_SIR | regs.LSI_DSTAT_IID;
