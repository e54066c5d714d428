// The driver for a controller.

import type { ControllerKind } from '../controllers/index.ts';
import { attachAha1542 } from './aha1542.ts';
import { attachAhci } from './ahci.ts';
import type { Driver, DriverHost } from './driver.ts';
import { attachLsi53c895a } from './lsi53c895a.ts';
import { attachNvme } from './nvme.ts';
import { attachPiixIde } from './piix-ide.ts';
import { attachVirtioBlk } from './virtio-blk.ts';

const DRIVERS: Readonly<Partial<Record<ControllerKind, (host: DriverHost) => Driver>>> = {
  aha1542: attachAha1542,
  ahci: attachAhci,
  lsi53c895a: attachLsi53c895a,
  nvme: attachNvme,
  'piix-ide': attachPiixIde,
  'virtio-blk': attachVirtioBlk,
};

/** Attaches the driver for `host.controller`. Throws RangeError where there is none, and what the driver throws. */
export function attachDriver(host: DriverHost): Driver {
  const attach = DRIVERS[host.controller.kind];
  if (attach === undefined) throw new RangeError(`there is no driver for ${host.controller.kind}`);
  return attach(host);
}
