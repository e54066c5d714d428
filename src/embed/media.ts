// Disks from what an embedder says of them, and where they go.

import type { Controller, Disk, Machine } from '../machine/index.ts';
import { MachineError, RAM_DISK_MAX } from '../machine/index.ts';
import type { Medium } from '../media/index.ts';
import { EmbedError } from './errors.ts';
import type { EmbedOptions, MediaOptions } from './types.ts';

const PAGE = 4096;
/** More places no controller has. */
const PLACES = 32;

export interface PlacedDisk {
  readonly disk: Disk;
  readonly place: number;
  readonly unit: number;
}

/** The disks that `media` describes. Throws EmbedError where it describes none. */
export function mediaOf(media: EmbedOptions['media']): readonly MediaOptions[] {
  if (media === undefined || media === null)
    throw new EmbedError('media is missing: give a disk, several, or [] for a controller without any');
  const list = Array.isArray(media) ? (media as readonly (Medium | Uint8Array | MediaOptions)[]) : [media];
  return list.map((entry, i) => {
    const options = optionsOf(entry as Medium | Uint8Array | MediaOptions);
    const isEmpty =
      options.medium === undefined && options.bytes === undefined && options.content === undefined;
    if (isEmpty && options.drive !== true)
      throw new EmbedError(
        `media[${i}] has neither medium, bytes nor content: one of them says what the disk holds`,
      );
    return {
      ...options,
      ...(options.content === undefined ? {} : { bytes: options.bytes ?? options.content.length }),
    };
  });
}

function optionsOf(entry: Medium | Uint8Array | MediaOptions): MediaOptions {
  if (entry instanceof Uint8Array) return { content: entry };
  return 'sync' in entry ? { medium: entry } : entry;
}

/** Bytes of the module's memory that the disks take. */
export function roomFor(media: readonly MediaOptions[]): number {
  return media.reduce((sum, { medium, bytes = 0 }) => {
    const inModule = medium === undefined && bytes <= RAM_DISK_MAX;
    return sum + (inModule ? Math.ceil(bytes / PAGE) * PAGE + 2 * PAGE : PAGE);
  }, 0);
}

/** Makes the disks and puts them where they go. Throws EmbedError where one has no place. */
export function attachMedia(
  machine: Machine,
  controller: Controller,
  media: readonly MediaOptions[],
): readonly PlacedDisk[] {
  return media.map((options, i) => {
    const disk = options.drive === true ? machine.addDrive(options) : machine.addDisk(options);
    if (options.content !== undefined) disk.write(0, options.content);
    const { unit = 0 } = options;
    if (options.place !== undefined) {
      if (controller.diskAt(options.place, unit) !== undefined)
        throw new EmbedError(`media[${i}]: place ${options.place}, unit ${unit} is taken`);
      controller.attach(disk, options.place, unit);
      return { disk, place: options.place, unit };
    }
    for (const [place, at] of placesOf(controller, options.unit)) {
      if (controller.diskAt(place, at) === undefined && tryAttach(controller, disk, place, at))
        return { disk, place, unit: at };
    }
    throw new EmbedError(`media[${i}]: ${controller.kind} has no place left for a disk`);
  });
}

/** Where a disk may go if nobody says, in order: on IDE the second drive of a channel comes before the next channel. */
function* placesOf(controller: Controller, unit: number | undefined): Iterable<readonly [number, number]> {
  const units = unit !== undefined ? [unit] : controller.kind === 'piix-ide' ? [0, 1] : [0];
  for (let place = 0; place < PLACES; place++) for (const at of units) yield [place, at];
}

function tryAttach(controller: Controller, disk: Disk, place: number, unit: number): boolean {
  try {
    controller.attach(disk, place, unit);
    return true;
  } catch (error) {
    if (error instanceof MachineError) return false;
    throw error;
  }
}
