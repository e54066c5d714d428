// Objects that devices stand on: memory, and others that are taken because clients name them.

import { QtestError } from './errors.ts';
import { type Options, toSize } from './options.ts';

const TYPES = ['memory-backend-ram', 'memory-backend-file', 'iothread', 'rng-random', 'throttle-group'];
const PROPERTIES = [
  'qom-type', 'id', 'size', 'share', 'mem-path', 'prealloc', 'merge', 'dump', 'policy', 'filename',
]; // biome-ignore format: a list

export class Backends {
  readonly #types = new Map<string, string>();
  readonly #memories = new Map<string, number>();

  /** Adds what -object and object-add describe. Throws QtestError. */
  add(object: Options): void {
    const type = object.get('qom-type') ?? '';
    const id = object.get('id');
    if (!TYPES.includes(type))
      throw new QtestError(`object: invalid object type: ${type}; there are ${TYPES.join(', ')}`);
    if (id === undefined) throw new QtestError("object: Parameter 'id' is missing");
    if (this.#types.has(id)) throw new QtestError(`object: there is one with the id '${id}' already`);
    for (const key of object.keys()) {
      if (!PROPERTIES.includes(key) && !key.startsWith('x-'))
        throw new QtestError(`object ${id}: Property '${type}.${key}' not found`);
    }
    if (type.startsWith('memory-backend-'))
      this.#memories.set(id, toSize(object.get('size') ?? '', `object ${id}: size`));
    this.#types.set(id, type);
  }

  /** Throws QtestError where there is none of that id. */
  remove(id: string): void {
    if (!this.#types.delete(id)) throw new QtestError(`object '${id}' not found`);
    this.#memories.delete(id);
  }

  /** Bytes of a memory. Throws QtestError. */
  memoryBytes(id: string): number {
    const bytes = this.#memories.get(id);
    if (bytes === undefined) throw new QtestError(`Device '${id}' not found`, 'DeviceNotFound');
    return bytes;
  }
}
