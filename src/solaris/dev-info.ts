// A device as its driver knows it (dev_info_t).

import type { Controller } from '../machine/controller.ts';

export class DevInfo {
  /** Name of the driver: warnings are given once for each. */
  readonly driver: string;
  readonly controller: Controller;

  constructor(controller: Controller, driver: string = controller.name) {
    this.controller = controller;
    this.driver = driver;
  }
}
