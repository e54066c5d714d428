// Driver of PIIX IDE controllers: finds the drives on both channels and hands commands to them
// (piix-ide-channel.ts). A channel whose ports the BIOS left closed has none.
//
// [1] Intel 82371AB PIIX4 datasheet (290562-001)
// [2] Programming Interface for Bus Master IDE Controller, revision 1.0 (SFF-8038i)
// [3] ATA/ATAPI-7, T13/1532D; commands: ata.ts, SAT-2: sat.ts

import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER } from '../../assembly/bus/pci-regs.ts';
import {
  PIIX_CHANNELS,
  PIIX_IDETIM,
  PIIX_IDETIM_ENABLE,
  PIIX_IDETIM_SECONDARY,
  PRD_COUNT_MAX,
} from '../../assembly/piix-ide/regs.ts';
import type { Controller } from '../machine/controller.ts';
import type { Driver, DriverCommand, DriverDisk, DriverHost, DriverLimits } from './driver.ts';
import { PiixChannel } from './piix-ide-channel.ts';

/** Resets both channels and looks for drives. */
export function attachPiixIde(host: DriverHost): Driver {
  return new PiixIdeDriver(host);
}

export class PiixIdeError extends Error {
  override name = 'PiixIdeError';
}

class PiixIdeDriver implements Driver {
  readonly name = 'piix-ide';
  readonly limits: DriverLimits;
  readonly disks: DriverDisk[] = [];
  readonly #channels: PiixChannel[] = [];
  /** Channel and drive of each disk. */
  readonly #places: { readonly channel: PiixChannel; readonly drive: number }[] = [];

  constructor(host: DriverHost) {
    const ide = host.controller;
    const command = ide.configRead(PCI_COMMAND, 2);
    ide.configWrite(PCI_COMMAND, 2, command | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    const { maxSegments, addressBits } = ide.description.limits(ide.profile);
    for (let number = 0; number < PIIX_CHANNELS; number++) {
      if (isOpen(ide, number)) this.#open(new PiixChannel(host, number, maxSegments, addressBits));
    }
    this.limits = {
      addressBits,
      maxSegments,
      maxSegmentBytes: PRD_COUNT_MAX,
      boundaryMask: PRD_COUNT_MAX - 1,
      virtBoundaryMask: 0,
      alignmentMask: 1,
      maxSectors: 65535,
      queueDepth: Math.max(1, this.#channels.length),
    };
  }

  #open(channel: PiixChannel): void {
    const found = channel.probe();
    for (const { drive, disk } of found) {
      this.disks.push(disk);
      this.#places.push({ channel, drive });
    }
    if (found.length > 0) this.#channels.push(channel);
    else channel.release();
  }

  submit(command: DriverCommand): boolean {
    const place = this.#places[command.disk];
    if (place === undefined) throw new PiixIdeError(`there is no disk ${command.disk}`);
    return place.channel.submit(command, place.drive);
  }

  kick(): void {
    for (const channel of this.#channels) channel.kick();
  }

  interrupt(): boolean {
    let mine = false;
    for (const channel of this.#channels) if (channel.interrupt()) mine = true;
    return mine;
  }

  abort(command: DriverCommand): void {
    for (const channel of this.#channels) if (channel.abort(command)) return;
  }

  reset(): void {
    for (const channel of this.#channels) channel.reset();
  }

  detach(): void {
    for (const channel of this.#channels) channel.release();
  }
}

/** [1] 4.1.9. */
function isOpen(ide: Controller, channel: number): boolean {
  const timing = ide.configRead(channel === 0 ? PIIX_IDETIM : PIIX_IDETIM_SECONDARY, 2);
  return (timing & PIIX_IDETIM_ENABLE) !== 0;
}
