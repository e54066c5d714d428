// The engines and the link of one AHCI port: start, stop, COMRESET. References are those of ahci.ts.

import {
  AHCI_CMD_CR,
  AHCI_CMD_FR,
  AHCI_CMD_FRE,
  AHCI_CMD_ST,
  AHCI_DET_MASK,
  AHCI_DET_PRESENT,
  AHCI_DET_RESET,
  AHCI_PORT_STRIDE,
  AHCI_PORTS,
  AHCI_PX_CMD,
  AHCI_PX_IS,
  AHCI_PX_SCTL,
  AHCI_PX_SERR,
  AHCI_PX_SSTS,
  AHCI_PX_TFD,
} from '../../assembly/ahci/regs.ts';
import { ATA_STATUS_BSY, ATA_STATUS_DRQ } from '../../assembly/ata/regs.ts';
import type { Controller } from '../machine/controller.ts';
import type { DriverHost } from './driver.ts';

/** [1] 10.1.2, 10.4.2: engines stop within 500 ms, COMRESET lasts 1 ms, the link answers within 10 ms. */
const ENGINE_NS = 500e6;
const RESET_NS = 1e6;
export const LINK_NS = 10e6;
/** A disk may take this long to spin up. */
const READY_NS = 30e9;

export class AhciLink {
  readonly #host: DriverHost;
  readonly #hba: Controller;
  readonly #bar: number;
  readonly #base: number;

  constructor(host: DriverHost, bar: number, port: number) {
    this.#host = host;
    this.#hba = host.controller;
    this.#bar = bar;
    this.#base = AHCI_PORTS + port * AHCI_PORT_STRIDE;
  }

  read(register: number): number {
    return this.#hba.read32(this.#bar, this.#base + register);
  }

  write(register: number, value: number): void {
    this.#hba.write32(this.#bar, this.#base + register, value);
  }

  get up(): boolean {
    return (this.read(AHCI_PX_SSTS) & AHCI_DET_MASK) === AHCI_DET_PRESENT;
  }

  /** Clears ST; false when the list does not stop. */
  stop(): boolean {
    this.write(AHCI_PX_CMD, this.read(AHCI_PX_CMD) & ~AHCI_CMD_ST);
    return this.#host.waitUntil(() => (this.read(AHCI_PX_CMD) & AHCI_CMD_CR) === 0, ENGINE_NS);
  }

  start(): void {
    this.write(AHCI_PX_SERR, 0xffffffff);
    this.write(AHCI_PX_IS, 0xffffffff);
    this.write(AHCI_PX_CMD, this.read(AHCI_PX_CMD) | AHCI_CMD_ST);
  }

  stopFrames(): void {
    this.write(AHCI_PX_CMD, this.read(AHCI_PX_CMD) & ~AHCI_CMD_FRE);
    this.#host.waitUntil(() => (this.read(AHCI_PX_CMD) & AHCI_CMD_FR) === 0, ENGINE_NS);
  }

  /** COMRESET, [1] 10.4.2, and the list started again. False: no disk answers. */
  reset(): boolean {
    this.stop();
    this.write(AHCI_PX_SCTL, (this.read(AHCI_PX_SCTL) & ~AHCI_DET_MASK) | AHCI_DET_RESET);
    this.#host.waitUntil(() => false, RESET_NS);
    this.write(AHCI_PX_SCTL, this.read(AHCI_PX_SCTL) & ~AHCI_DET_MASK);
    if (!this.#host.waitUntil(() => this.up, LINK_NS) || !this.waitReady()) return false;
    this.start();
    return true;
  }

  /** Waits until the disk takes commands. */
  waitReady(): boolean {
    this.write(AHCI_PX_SERR, 0xffffffff);
    const isReady = (): boolean => (this.read(AHCI_PX_TFD) & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) === 0;
    return this.#host.waitUntil(isReady, READY_NS);
  }
}
