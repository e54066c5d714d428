// A virtio device's registers on PCI ([1] 4.1 of virtio-blk.ts): finds the structures by their capabilities.

import {
  PCI_CAP_MSIX,
  PCI_CAP_VENDOR,
  PCI_CAPABILITIES,
  PCI_MSIX_ENABLE,
  PCI_MSIX_ENTRY_ADDRESS,
  PCI_MSIX_ENTRY_BYTES,
  PCI_MSIX_ENTRY_CONTROL,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_TABLE,
} from '../../assembly/bus/pci-regs.ts';
import * as regs from '../../assembly/virtio-blk/regs.ts';
import type { Controller } from '../machine/controller.ts';

/** Capabilities that a list of 256 bytes can hold. */
const CAPABILITIES_MAX = 48;
/** Where messages go: the interrupt controller's window. */
const MESSAGE_ADDRESS = 0xfee00000;
const MSIX_VECTORS = 0x7ff;

interface Place {
  readonly bar: number;
  readonly at: number;
}

interface Structures {
  readonly common: Place;
  readonly notify: Place;
  readonly isr: Place;
  readonly config: Place;
  readonly multiplier: number;
  /** Offset of the MSI-X capability, 0: none. */
  readonly msix: number;
}

export class VirtioPci {
  /** Interrupts are messages. */
  messages = false;
  readonly #controller: Controller;
  readonly #found: Structures;
  /** Where each queue's notification goes. */
  readonly #bells: number[] = [];
  #vectors = 0;

  private constructor(controller: Controller, found: Structures) {
    this.#controller = controller;
    this.#found = found;
  }

  /** Null where the device has no modern interface. */
  static find(controller: Controller): VirtioPci | null {
    const places = new Map<number, Place>();
    let multiplier = 0;
    let msix = 0;
    let at = controller.configRead(PCI_CAPABILITIES, 1);
    for (let i = 0; i < CAPABILITIES_MAX && at !== 0; i++) {
      const id = controller.configRead(at, 1);
      const type = controller.configRead(at + regs.VIRTIO_CAP_TYPE, 1);
      if (id === PCI_CAP_MSIX) msix = at;
      if (id === PCI_CAP_VENDOR && !places.has(type)) {
        const bar = controller.configRead(at + regs.VIRTIO_CAP_BAR, 1);
        places.set(type, { bar, at: controller.configRead(at + regs.VIRTIO_CAP_OFFSET, 4) });
        if (type === regs.VIRTIO_CAP_NOTIFY)
          multiplier = controller.configRead(at + regs.VIRTIO_CAP_EXTRA, 4);
      }
      at = controller.configRead(at + 1, 1);
    }
    const common = places.get(regs.VIRTIO_CAP_COMMON);
    const notify = places.get(regs.VIRTIO_CAP_NOTIFY);
    const isr = places.get(regs.VIRTIO_CAP_ISR);
    const config = places.get(regs.VIRTIO_CAP_DEVICE);
    if (common === undefined || notify === undefined || isr === undefined || config === undefined)
      return null;
    return new VirtioPci(controller, { common, notify, isr, config, multiplier, msix });
  }

  status(): number {
    return this.#controller.read8(this.#found.common.bar, this.#found.common.at + regs.VIRTIO_STATUS);
  }

  setStatus(status: number): void {
    this.#controller.write8(this.#found.common.bar, this.#found.common.at + regs.VIRTIO_STATUS, status);
  }

  features(word: number): number {
    this.#write32(regs.VIRTIO_DEVICE_FEATURE_SELECT, word);
    const { bar, at } = this.#found.common;
    return this.#controller.read32(bar, at + regs.VIRTIO_DEVICE_FEATURE);
  }

  accept(low: number, high: number): void {
    this.#write32(regs.VIRTIO_DRIVER_FEATURE_SELECT, 0);
    this.#write32(regs.VIRTIO_DRIVER_FEATURE, low);
    this.#write32(regs.VIRTIO_DRIVER_FEATURE_SELECT, 1);
    this.#write32(regs.VIRTIO_DRIVER_FEATURE, high);
  }

  queueSize(queue: number): number {
    this.#write16(regs.VIRTIO_QUEUE_SELECT, queue);
    const { bar, at } = this.#found.common;
    return this.#controller.read16(bar, at + regs.VIRTIO_QUEUE_SIZE);
  }

  enableQueue(queue: number, desc: number, driver: number, device: number): void {
    const { common, notify, multiplier } = this.#found;
    this.#write16(regs.VIRTIO_QUEUE_SELECT, queue);
    this.#writeAddress(regs.VIRTIO_QUEUE_DESC, desc);
    this.#writeAddress(regs.VIRTIO_QUEUE_DRIVER, driver);
    this.#writeAddress(regs.VIRTIO_QUEUE_DEVICE, device);
    const offset = this.#controller.read16(common.bar, common.at + regs.VIRTIO_QUEUE_NOTIFY_OFF);
    this.#bells[queue] = notify.at + offset * multiplier;
    this.#write16(regs.VIRTIO_QUEUE_ENABLE, 1);
  }

  notify(queue: number): void {
    this.#controller.write16(this.#found.notify.bar, this.#bells[queue] as number, queue);
  }

  /** Reading acknowledges. */
  readIsr(): number {
    return this.#controller.read8(this.#found.isr.bar, this.#found.isr.at);
  }

  config16(field: number): number {
    return this.#controller.read16(this.#found.config.bar, this.#found.config.at + field);
  }

  config32(field: number): number {
    return this.#controller.read32(this.#found.config.bar, this.#found.config.at + field);
  }

  /** Both halves of one moment: the generation is the same before and after. */
  config64(field: number): number {
    for (;;) {
      const before = this.generation();
      const value = this.config32(field + 4) * 2 ** 32 + this.config32(field);
      if (this.generation() === before) return value;
    }
  }

  /** Counts changes of the configuration. */
  generation(): number {
    const { bar, at } = this.#found.common;
    return this.#controller.read8(bar, at + regs.VIRTIO_CONFIG_GENERATION);
  }

  /** Switches MSI-X on: each of its entries sends a vector from `first` on. */
  enableMessages(first: number): void {
    const { msix } = this.#found;
    const controller = this.#controller;
    if (msix === 0) return;
    const control = controller.configRead(msix + 2, 2);
    const table = controller.configRead(msix + PCI_MSIX_TABLE, 4);
    this.#vectors = (control & MSIX_VECTORS) + 1;
    for (let i = 0; i < this.#vectors; i++) {
      const at = (table & ~7) + i * PCI_MSIX_ENTRY_BYTES;
      controller.write32(table & 7, at + PCI_MSIX_ENTRY_ADDRESS, MESSAGE_ADDRESS);
      controller.write32(table & 7, at + PCI_MSIX_ENTRY_ADDRESS + 4, 0);
      controller.write32(table & 7, at + PCI_MSIX_ENTRY_DATA, first + i);
      controller.write32(table & 7, at + PCI_MSIX_ENTRY_CONTROL, 0);
    }
    controller.configWrite(msix + 2, 2, control | PCI_MSIX_ENABLE);
    this.messages = true;
  }

  /** Entry 0 is the configuration's, the next ones are the queues'; the last one is shared where they are too few. */
  placeVectors(queues: number): void {
    this.#write16(regs.VIRTIO_CONFIG_VECTOR, 0);
    for (let i = 0; i < queues; i++) {
      this.#write16(regs.VIRTIO_QUEUE_SELECT, i);
      this.#write16(regs.VIRTIO_QUEUE_VECTOR, Math.min(i + 1, this.#vectors - 1));
    }
  }

  #writeAddress(field: number, address: number): void {
    this.#write32(field, address >>> 0);
    this.#write32(field + 4, Math.floor(address / 2 ** 32));
  }

  #write16(field: number, value: number): void {
    this.#controller.write16(this.#found.common.bar, this.#found.common.at + field, value);
  }

  #write32(field: number, value: number): void {
    this.#controller.write32(this.#found.common.bar, this.#found.common.at + field, value);
  }
}
