-- Container seconds that each user was charged for each bundle; `time_used` of a user is the sum over the rows. The
-- empty uuid stands for all bundles that are gone, and for what was charged before this table existed.
CREATE TABLE IF NOT EXISTS `time_charge` (
  `user_id` VARCHAR(63) NOT NULL,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `seconds` DOUBLE NOT NULL,
  PRIMARY KEY (`user_id`, `bundle_uuid`),
  KEY `time_charge_bundle_index` (`bundle_uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT IGNORE INTO `time_charge` (`user_id`, `bundle_uuid`, `seconds`)
  SELECT `user_id`, '', `time_used` FROM `user` WHERE `time_used` <> 0;

-- Members of groups whose accounts are gone: listings show that somebody was there. They have no rights.
CREATE TABLE IF NOT EXISTS `former_member` (
  `group_uuid` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `is_admin` BOOLEAN NOT NULL DEFAULT 0,
  PRIMARY KEY (`group_uuid`, `user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
