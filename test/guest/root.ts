import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's folder; this runs as a bundle in .cache/<something>/. */
export const root: string = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
