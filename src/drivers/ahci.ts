// Driver of AHCI controllers: finds the disks at all ports and hands commands to them (ahci-port.ts).
//
// [1] Serial ATA Advanced Host Controller Interface (AHCI) 1.3.1
// [2] Serial ATA revision 2.6
// [3] ATA8-ACS, T13/1699-D (ata.ts), and SAT-2, T10/1826-D (sat.ts)

import {
  AHCI_BAR,
  AHCI_CAP,
  AHCI_CAP_NCS_MASK,
  AHCI_CAP_NCS_SHIFT,
  AHCI_CAP_S64A,
  AHCI_CAP_SNCQ,
  AHCI_GHC,
  AHCI_GHC_AE,
  AHCI_GHC_HR,
  AHCI_GHC_IE,
  AHCI_IS,
  AHCI_PI,
  AHCI_PRD_MAX_BYTES,
} from '../../assembly/ahci/regs.ts';
import {
  PCI_CAP_MSI,
  PCI_CAPABILITIES,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE,
  PCI_MSI_64,
  PCI_MSI_ENABLE,
  PCI_VENDOR,
} from '../../assembly/bus/pci-regs.ts';
import type { Controller } from '../machine/controller.ts';
import { AhciPort, SEGMENTS } from './ahci-port.ts';
import type { AtaDisk } from './ata.ts';
import type { Driver, DriverCommand, DriverHost, DriverLimits } from './driver.ts';

/** [1] 10.4.3: a reset of the HBA is over within a second. */
const RESET_NS = 1e9;
/** Links come up within 10 ms of each other's start. */
const LINK_NS = 10e6;
/** Boards that claim 64 address bits and drive 32. */
const NARROW_BOARDS: readonly (readonly [number, number])[] = [[0x1002, 0x4380]];
/** Capabilities that a list of 256 bytes can hold. */
const CAPABILITIES_MAX = 48;

export interface AhciOptions {
  /** Whether known boards are treated by what they do and not by what they claim; default true. */
  readonly quirks?: boolean;
  /** Interrupt by message with this vector, where the board can; default: by the line. */
  readonly vector?: number;
}

/** Resets the controller, and looks for disks at every port. Throws AhciError where that fails. */
export function attachAhci(host: DriverHost, options: AhciOptions = {}): Driver {
  const driver = new AhciDriver(host, options);
  driver.attach();
  return driver;
}

export class AhciError extends Error {
  override name = 'AhciError';
}

class AhciDriver implements Driver {
  readonly name = 'ahci';
  readonly limits: DriverLimits;
  readonly disks: AtaDisk[] = [];
  readonly #host: DriverHost;
  readonly #hba: Controller;
  readonly #options: AhciOptions;
  readonly #capabilities: number;
  readonly #ports: AhciPort[] = [];
  /** Ports with a disk in the order of `disks`, and by their number. */
  readonly #opened: AhciPort[] = [];
  readonly #byNumber: (AhciPort | undefined)[] = new Array(32).fill(undefined);

  constructor(host: DriverHost, options: AhciOptions) {
    this.#host = host;
    this.#hba = host.controller;
    this.#options = options;
    const command = this.#hba.configRead(PCI_COMMAND, 2);
    this.#hba.configWrite(PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    this.#write(AHCI_GHC, AHCI_GHC_AE);
    this.#capabilities = this.#read(AHCI_CAP);
    const slots = ((this.#capabilities >>> AHCI_CAP_NCS_SHIFT) & AHCI_CAP_NCS_MASK) + 1;
    const wide = (this.#capabilities & AHCI_CAP_S64A) !== 0 && !this.#isNarrow();
    this.limits = {
      addressBits: wide ? 64 : 32,
      maxSegments: SEGMENTS,
      maxSegmentBytes: AHCI_PRD_MAX_BYTES,
      boundaryMask: 0xffffffff,
      virtBoundaryMask: 0,
      alignmentMask: 1,
      maxSectors: 65535,
      queueDepth: slots,
    };
  }

  attach(): void {
    this.#reset();
    const implemented = this.#read(AHCI_PI);
    for (let number = 0; number < 32; number++) {
      if ((implemented & (1 << number)) === 0) continue;
      const { queueDepth, addressBits } = this.limits;
      this.#ports.push(new AhciPort(this.#host, AHCI_BAR, number, queueDepth, addressBits));
    }
    for (const port of this.#ports) port.prepare();
    this.#host.waitUntil(() => this.#ports.every((port) => port.linked), LINK_NS);
    for (const port of this.#ports) this.#probe(port);
    if (this.#options.vector !== undefined) enableMessages(this.#hba, this.#options.vector);
    this.#write(AHCI_IS, 0xffffffff);
    this.#write(AHCI_GHC, AHCI_GHC_AE | AHCI_GHC_IE);
  }

  submit(command: DriverCommand): boolean {
    const port = this.#opened[command.disk];
    if (port === undefined) throw new AhciError(`there is no disk ${command.disk}`);
    return port.submit(command);
  }

  kick(): void {
    const ports = this.#opened;
    for (let i = 0; i < ports.length; i++) (ports[i] as AhciPort).kick();
  }

  interrupt(): boolean {
    const pending = this.#read(AHCI_IS);
    if (pending === 0) return false;
    for (let left = pending; left !== 0; left &= left - 1) {
      const port = this.#byNumber[31 - Math.clz32(left & -left)];
      if (port !== undefined) port.interrupt();
    }
    // First the ports, then IS: a bit that is cleared too early rises again ([1] 10.7.2.1).
    this.#write(AHCI_IS, pending);
    return true;
  }

  abort(command: DriverCommand): void {
    for (const port of this.#opened) if (port.abort(command)) return;
  }

  reset(): void {
    this.#reset();
    for (const port of this.#opened) {
      const alive = port.revive();
      port.endAll(alive ? 'aborted' : 'no-device');
    }
    this.#write(AHCI_IS, 0xffffffff);
    this.#write(AHCI_GHC, AHCI_GHC_AE | AHCI_GHC_IE);
  }

  detach(): void {
    this.#write(AHCI_GHC, AHCI_GHC_AE);
    for (const port of this.#ports) port.release();
    for (const port of this.#opened) port.endAll('aborted');
    this.#write(AHCI_IS, 0xffffffff);
  }

  #probe(port: AhciPort): void {
    port.probe();
    if (port.disk === null) return;
    port.open((this.#capabilities & AHCI_CAP_SNCQ) !== 0);
    this.disks.push(port.disk);
    this.#opened.push(port);
    this.#byNumber[port.number] = port;
  }

  #reset(): void {
    this.#write(AHCI_GHC, AHCI_GHC_AE);
    this.#write(AHCI_GHC, AHCI_GHC_AE | AHCI_GHC_HR);
    const isOver = (): boolean => (this.#read(AHCI_GHC) & AHCI_GHC_HR) === 0;
    if (!this.#host.waitUntil(isOver, RESET_NS)) throw new AhciError('the controller stays in reset');
    this.#write(AHCI_GHC, AHCI_GHC_AE);
  }

  #isNarrow(): boolean {
    if (this.#options.quirks === false) return false;
    const vendor = this.#hba.configRead(PCI_VENDOR, 2);
    const device = this.#hba.configRead(PCI_DEVICE, 2);
    return NARROW_BOARDS.some((board) => board[0] === vendor && board[1] === device);
  }

  #read(register: number): number {
    return this.#hba.read32(AHCI_BAR, register);
  }

  #write(register: number, value: number): void {
    this.#hba.write32(AHCI_BAR, register, value);
  }
}

/** Switches the one message on, to the interrupt controller's window (PCI 3.0, 6.8). Without MSI nothing happens. */
function enableMessages(hba: Controller, vector: number): void {
  let at = hba.configRead(PCI_CAPABILITIES, 1);
  for (let i = 0; i < CAPABILITIES_MAX && at !== 0; i++) {
    if (hba.configRead(at, 1) === PCI_CAP_MSI) {
      const control = hba.configRead(at + 2, 2);
      const wide = (control & PCI_MSI_64) !== 0;
      hba.configWrite(at + 4, 4, 0xfee00000);
      if (wide) hba.configWrite(at + 8, 4, 0);
      hba.configWrite(at + (wide ? 12 : 8), 2, vector);
      hba.configWrite(at + 2, 2, control | PCI_MSI_ENABLE);
      return;
    }
    at = hba.configRead(at + 1, 1);
  }
}
