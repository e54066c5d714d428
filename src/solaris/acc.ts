// What the CPU reaches through a handle (ddi_acc_handle_t): registers, or memory for devices.

import type { Controller } from '../machine/controller.ts';

/** Byte order of the device (ddi_device_acc_attr(9S)): the CPU is little-endian. */
export const DDI_NEVERSWAP_ACC = 0;
export const DDI_STRUCTURE_LE_ACC = 1;
/** Words are swapped on their way. */
export const DDI_STRUCTURE_BE_ACC = 2;

/** How the CPU reaches something (ddi_device_acc_attr(9S)). Accesses are made in order whatever it says. */
export interface DdiDeviceAccAttr {
  readonly devacc_attr_version: number;
  readonly devacc_attr_endian_flags: number;
  readonly devacc_attr_dataorder: number;
}

/** The memory of one ddi_dma_mem_alloc(). */
export class DdiAccHandle {
  /** Address of the first byte, and how many there are. */
  readonly kaddr: number;
  readonly bytes: number;
  /** The device is big-endian. */
  readonly swaps: boolean;
  freed = false;

  constructor(kaddr: number, bytes: number, accattrp: DdiDeviceAccAttr | null) {
    this.kaddr = kaddr;
    this.bytes = bytes;
    this.swaps = accattrp?.devacc_attr_endian_flags === DDI_STRUCTURE_BE_ACC;
  }
}

/** One set of registers of a controller: of a BAR, of ports, or of its configuration space. */
export interface RegisterSet {
  readonly controller: Controller;
  /** Number of the BAR; -1: the configuration space. */
  readonly bar: number;
  readonly bytes: number;
}

/** Registers that ddi_regs_map_setup() or pci_config_setup() mapped. */
export class RegsHandle extends DdiAccHandle {
  readonly set: RegisterSet;
  /** Offset in the set of the first byte. */
  readonly offset: number;

  constructor(
    set: RegisterSet,
    offset: number,
    kaddr: number,
    bytes: number,
    accattrp: DdiDeviceAccAttr | null,
  ) {
    super(kaddr, bytes, accattrp);
    this.set = set;
    this.offset = offset;
  }
}
