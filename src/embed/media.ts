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
  const list: readonly unknown[] = Array.isArray(media) ? media : [media];
  return list.map((entry, i) => {
    const options = optionsOf(entry, i);
    const isEmpty =
      options.medium === undefined && options.bytes === undefined && options.content === undefined;
    if (isEmpty && options.drive !== true)
      throw new EmbedError(
        `media[${i}] has neither medium, bytes nor content: one of them says what the disk holds`,
      );
    return withContent(options, i);
  });
}

function optionsOf(entry: unknown, i: number): MediaOptions {
  if (entry instanceof Uint8Array) return { content: entry };
  if (entry instanceof Promise)
    throw new EmbedError(`media[${i}] is a promise: await it, as in media: await openImage(path)`);
  if (typeof entry === 'string')
    throw new EmbedError(`media[${i}] is "${entry}": a path is opened first, with await openImage(path)`);
  if (typeof entry !== 'object' || entry === null)
    throw new EmbedError(`media[${i}] is ${entry}; it must be a medium, bytes, or options of a disk`);
  return 'sync' in entry ? { medium: entry as Medium } : (entry as MediaOptions);
}

function withContent(options: MediaOptions, i: number): MediaOptions {
  const { content, bytes } = options;
  if (content === undefined) return options;
  if (!(content instanceof Uint8Array)) throw new EmbedError(`media[${i}]: content must be a Uint8Array`);
  if (bytes !== undefined && bytes < content.length)
    throw new EmbedError(`media[${i}]: the content has ${content.length} bytes, the disk only ${bytes}`);
  return { ...options, bytes: bytes ?? content.length };
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
