// A device as its driver knows it (dev_info_t), and its minor nodes.

import type { Controller } from '../machine/controller.ts';

/** Types of minor nodes (<sys/stat.h>). */
export const S_IFCHR = 0x2000;
export const S_IFBLK = 0x6000;

/** One node of a device: what /devices shows as `driver@instance:name`. */
export interface MinorNode {
  readonly name: string;
  /** S_IFCHR or S_IFBLK. */
  readonly spec_type: number;
  readonly dev: number;
  /** DDI_PSEUDO, DDI_NT_BLOCK … */
  readonly node_type: string;
}

export class DevInfo {
  /** Name of the driver: warnings are given once for each. */
  readonly driver: string;
  readonly controller: Controller;
  /** Number among the devices of its driver; -1 until devi_attach() begins. */
  instance = -1;
  attached = false;
  /** ddi_set_driver_private(). */
  private_data: unknown = null;
  readonly minors: MinorNode[] = [];
  /** Interrupts allocated and soft interrupts added, by what for: a driver that goes must have given them back. */
  readonly interrupts = new Set<string>();

  constructor(controller: Controller, driver: string = controller.name) {
    this.controller = controller;
    this.driver = driver;
  }
}
