// A driver of ours with a habit of its own.

import { attachDriver, type Driver, type DriverHost } from '../../src/drivers/index.ts';

/** Attaches ours with some of what it has replaced. */
export function altered(change: (driver: Driver) => Partial<Driver>): (host: DriverHost) => Driver {
  return (host) => {
    const driver = attachDriver(host);
    return {
      name: driver.name,
      limits: driver.limits,
      disks: driver.disks,
      submit: (command) => driver.submit(command),
      kick: () => driver.kick(),
      interrupt: () => driver.interrupt(),
      abort: (command) => driver.abort(command),
      reset: () => driver.reset(),
      detach: () => driver.detach(),
      ...change(driver),
    };
  };
}
