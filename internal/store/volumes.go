package store

import "context"

// DropVolume asks the worker of a node to remove a container's workspace
// volume there.
func (s *Store) DropVolume(ctx context.Context, node, id string) error {
	return down(s.rdb.SAdd(ctx, volumesKey(node), id).Err())
}

// VolumesToDrop returns the containers whose volumes are to be removed from a
// node.
func (s *Store) VolumesToDrop(ctx context.Context, node string) ([]string, error) {
	ids, err := s.rdb.SMembers(ctx, volumesKey(node)).Result()
	return ids, down(err)
}

// VolumeDropped says that a volume is gone, or is to stay after all.
func (s *Store) VolumeDropped(ctx context.Context, node, id string) error {
	return down(s.rdb.SRem(ctx, volumesKey(node), id).Err())
}

// VolumeWaits says whether a volume is still to be removed.
func (s *Store) VolumeWaits(ctx context.Context, node, id string) (bool, error) {
	waits, err := s.rdb.SIsMember(ctx, volumesKey(node), id).Result()
	return waits, down(err)
}
