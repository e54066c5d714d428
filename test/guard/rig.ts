// What tests of the guard's rules share: Linux beside a disk that a driver of the test's own moves data with.

import { attachAhci } from '../../src/drivers/index.ts';
import type { Page } from '../../src/kernel/index.ts';
import { bootLinux, Device, DMA_BIT_MASK, type LinuxApi, type LinuxOptions } from '../../src/linux/index.ts';
import { createMachine, type Machine } from '../../src/machine/index.ts';
import { TestCommand, TestHost } from '../drivers/host.ts';
import { assert } from '../run/suite.ts';

/** Where mappings are made, as findings call it. */
export const HERE = 'here';
/** Memory at 0 that the test's driver takes its rings from. */
const DRIVER_MEMORY = 0x40000;

export interface Rig {
  readonly machine: Machine;
  readonly linux: LinuxApi;
  readonly dev: Device;
  readonly page: () => Page;
  /** Where the last mapping or object was. */
  at: number;
  map(page: Page, bytes: number, dir: number, offset?: number): number;
  /** The disk writes to or reads from the bus address, for as long as it takes. */
  transfer(op: 'read' | 'write', address: number, bytes: number): void;
}

export async function boot(kind = 'ahci', options: LinuxOptions = {}): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', flavour: 'debug' });
  const controller = machine.addController({ kind });
  controller.attach(machine.addDisk({ bytes: 64 * 1024 }), 0);
  const driver = kind === 'ahci' ? attachAhci(new TestHost(machine, controller)) : null;
  machine.guard.clear();
  const linux = bootLinux(machine, { lowReserve: DRIVER_MEMORY, ...options });
  const dev = new Device(controller, 'probe');
  linux.dma_set_mask(dev, DMA_BIT_MASK(64));
  const rig: Rig = {
    machine,
    linux,
    dev,
    at: 0,
    page() {
      const page = linux.kernel.allocator.alloc({ zero: true, below: 2 ** 24 }) as Page;
      rig.at = page.phys;
      return page;
    },
    map(page, bytes, dir, offset = 0) {
      const addr = linux.dma_map_page(dev, page, offset, bytes, dir, HERE);
      linux.dma_mapping_error(dev, addr);
      return addr;
    },
    transfer(op, address, bytes) {
      const command = new TestCommand({ op, lba: 0, sectors: bytes / 512, direction: op });
      command.setSegments([{ address, bytes }]);
      assert.ok(driver?.submit(command));
      driver?.kick();
      while (command.ended === 0) {
        machine.advance(machine.nextDeadline());
        driver?.interrupt();
      }
    },
  };
  return rig;
}
